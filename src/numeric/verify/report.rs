//! What a comparison found, as data.

/// The derived formulas that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Formula {
    Gradient,
    Jacobian,
    LossHessian,
    GaussNewton,
    Residual,
    Exact,
    Factor,
}

impl Formula {
    pub const ALL: [Formula; 7] = [
        Formula::Gradient,
        Formula::Jacobian,
        Formula::LossHessian,
        Formula::GaussNewton,
        Formula::Residual,
        Formula::Exact,
        Formula::Factor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Formula::Gradient => "gradient",
            Formula::Jacobian => "Jacobian",
            Formula::LossHessian => "Hess(l)",
            Formula::GaussNewton => "Gauss-Newton",
            Formula::Residual => "second-order",
            Formula::Exact => "exact",
            Formula::Factor => "trace factor",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    pub tolerance: f64,
    pub blocks: Vec<BlockReport>,
    /// What was done to the point, and what was left out.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct BlockReport {
    pub name: String,
    pub checks: Vec<Check>,
}

/// One formula of a block with respect to one argument, or two of its parameters.
#[derive(Clone, Debug)]
pub struct Check {
    pub formula: Formula,
    /// `z`, `z_b`, a parameter's name; two names of a cross block.
    pub wrt: String,
    /// Numbers compared.
    pub compared: usize,
    /// Along directions rather than entry by entry.
    pub sampled: bool,
    /// Of the largest magnitude of the formula; `None` where a kink lies at the point or rounding hides the answer.
    pub error: Option<f64>,
    pub worst: Option<Worst>,
}

/// Where a formula is farthest off.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// `z_b[1, 3] by W[0, 2]`: the first index of z is the sample.
    pub place: String,
    pub derived: f64,
    pub differences: f64,
}

impl Report {
    pub fn failures(&self) -> impl Iterator<Item = (&BlockReport, &Check)> {
        let tolerance = self.tolerance;
        self.all().filter(move |(_, check)| check.error.is_some_and(|error| error > tolerance))
    }

    pub fn undecided(&self) -> impl Iterator<Item = (&BlockReport, &Check)> {
        self.all().filter(|(_, check)| check.error.is_none())
    }

    pub fn all(&self) -> impl Iterator<Item = (&BlockReport, &Check)> {
        self.blocks.iter().flat_map(|block| block.checks.iter().map(move |check| (block, check)))
    }

    /// The largest error of all.
    pub fn worst(&self) -> f64 {
        self.all().filter_map(|(_, check)| check.error).fold(0.0, f64::max)
    }

    pub fn passes(&self) -> bool {
        self.failures().next().is_none() && self.undecided().next().is_none()
    }
}

/// A derived number against the same by differences.
pub struct Compared {
    pub derived: f64,
    pub differences: f64,
    /// By how much the differences may be off.
    pub uncertainty: f64,
    /// Row and column of the formula's matrix.
    pub at: (usize, usize),
}

/// A formula this much smaller than what is usual counts as zero but for rounding.
pub const NOTHING: f64 = 1e-4;

/// The largest error of `numbers` relative to the largest magnitude among them, with its position. Uncertainty counts
/// as agreement, but must not hide more than [`NOTHING`] of what is `usual` for such a formula.
pub fn judge(numbers: &[Compared], usual: f64, tolerance: f64) -> (Option<f64>, Option<&Compared>) {
    let magnitude = |number: &Compared| number.derived.abs().max(number.differences.abs());
    let scale = numbers.iter().map(magnitude).fold(f64::MIN_POSITIVE, f64::max);
    let hidden = numbers.iter().map(|number| number.uncertainty).fold(0.0, f64::max);
    let scale = scale.max(NOTHING * usual);
    let visible = hidden <= NOTHING * scale.max(usual);
    if !visible {
        return (None, None);
    }
    let error = |number: &Compared| {
        let error = (number.derived - number.differences).abs() / scale.max(number.uncertainty / tolerance);
        if error.is_nan() { f64::INFINITY } else { error }
    };
    let worst = numbers.iter().max_by(|a, b| error(a).total_cmp(&error(b)));
    (Some(worst.map_or(0.0, error)), worst)
}
