//! Arguments and printing: one file per verb. The only place in the compiler that prints.

pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
