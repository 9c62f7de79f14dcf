fn main() -> std::process::ExitCode {
    blkc::cli::main()
}
