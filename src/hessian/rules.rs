//! The rules of the derivation beside those of expressions ([`crate::sym::simplify`]): what `explain --steps` names. Each
//! has a test that computes both sides at random values; those of factors that assume something are tested where the
//! assumption holds.

/// A rule by name, with the identity that it uses.
#[derive(PartialEq, Eq, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub identity: &'static str,
}

macro_rules! rules {
    ($($id:ident = $name:literal, $identity:literal;)*) => {
        $(pub const $id: Rule = Rule { name: $name, identity: $identity };)*
        /// Every rule.
        pub const ALL: &[&Rule] = &[$(&$id),*];
    };
}

rules! {
    CHAIN = "chain rule", "∂(f ∘ g) = ∂f ∂g, summed over the paths from the argument to the output";
    CENTRED = "deviations from the mean vanish", "mean_S(a − mean_S a) = 0";
    PATHS = "equal terms add", "x A + y A = (x + y) A";
    AVERAGES = "average of a diagonal", "Avg diag(v) Avg = diag(mean v) Avg";
    SLOPES = "diagonals add", "diag(u) A + diag(v) A = diag(u + v) A";
    STANDARDIZED = "standardized value", "e (mean e² + ε)^(−½) = x̂";
    SHARE = "share of a sum", "e (Σ e)^(−1) = p, Σ p = 1";
    RESIDUAL = "gradient differentiated", "∂(Jᵀ g) = Σᵢ gᵢ ∇²Fᵢ with g held constant";
    TRACE = "trace of a Gram operator", "tr(Jᵀ J) = ‖J‖²_F, a sum of closed products over pairs of terms of J";
    TRACE_THROUGH = "trace through the loss", "tr(Jᵀ H J) is a sum of closed products over the terms of J and of H = Hess(l)";
    ELIMINATION = "elimination", "Σ_ij xᵢ yᵢⱼ = Σᵢ xᵢ (Σⱼ yᵢⱼ): each index is summed where the fewest entries are multiplied";
    LEADING = "leading terms", "terms of J through batch statistics weigh 1/M in the trace";
    DECORRELATION = "decorrelation", "E wᵢₖ wₕₖ = 0 for i ≠ h leaves the diagonal of a Gram matrix";
    EXPECTATION = "expectation", "mean_j f(zⱼ) → E f(z): data are replaced by their expectations";
    HELD = "statistics held", "tr of diag(1/√Var) W is that of W over Var where Var is one constant";
    WHITE = "white input", "Var(wᵢᵀ z) = ‖wᵢ‖² where z has covariance I";
    ONE_POSITION = "one position", "‖W ⊗ I‖² = |I| ‖W‖²: a map applied at every position, counted once";
    EQUAL_ROWS = "equal rows", "‖wᵢ‖² = mean_i ‖wᵢ‖² where all rows have one norm";
}

#[cfg(test)]
mod tests;
