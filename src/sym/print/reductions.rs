//! Sums, means, norms and contractions as formulas.

use super::{Formula, Letter, Name, Powers, Printer};
use crate::axes::{Axis, BATCH};
use crate::sym::formula::Big;
use crate::sym::graph::{Expr, Node, Reduction};

/// Whose squares are summed, and over which axes.
type Norms = Vec<(Expr, Vec<Axis>)>;

impl Printer<'_> {
    /// Powers of a base that normalizes a value inside a reduction move into it: mean(a²)/s² is mean(x̂²). Gives every
    /// base and power with what moves into it.
    pub(super) fn inside_reductions(&self, powers: Powers) -> Vec<(Expr, f64, Powers)> {
        let mut found: Vec<(Expr, f64, Powers)> =
            powers.into_iter().map(|(base, power)| (base, power, vec![])).collect();
        for i in 0..found.len() {
            let Node::Reduce(Reduction::Mean | Reduction::Sum, _, arg) = self.graph.node(found[i].0) else {
                continue;
            };
            if found[i].1 != 1.0 || self.has_name(found[i].0) {
                continue;
            }
            let inner = self.split_product(*arg);
            for quotient in &self.quotients {
                let times = inner.iter().find(|power| power.0 == quotient.value).map_or(0.0, |power| power.1);
                let needed = quotient.power * times;
                let under =
                    found.iter().position(|other| other.0 == quotient.base && other.1 <= needed + 1e-12);
                if let (true, Some(j)) = (times > 0.0, under) {
                    found[j].1 -= needed;
                    found[i].2.push((quotient.base, needed));
                }
            }
        }
        found.retain(|entry| entry.1.abs() > 1e-12);
        found
    }

    /// A positive power; where it is one of a mean, the mean's number goes into the scale, of which a first power may
    /// use up some.
    pub(super) fn powered_or_reduced(
        &mut self,
        scale: &mut f64,
        base: Expr,
        power: f64,
        within: Powers,
    ) -> Formula {
        let named = self.has_name(base) && self.defining != Some(base);
        let Node::Reduce(how @ (Reduction::Mean | Reduction::Sum), over, arg) = self.graph.node(base).clone()
        else {
            return self.powered(base, power);
        };
        if named || self.has_root(base) {
            return self.powered(base, power);
        }
        let mut powers = self.split_product(arg);
        powers.extend(within);
        let powers = self.with_quotients(powers);
        let whole = power == 1.0;
        let (rest, formula) = match how {
            Reduction::Mean => self.scaled_mean(if whole { *scale } else { 1.0 }, &over, powers),
            _ => self.scaled_sum(&over, powers),
        };
        *scale = if whole && how == Reduction::Mean { rest } else { *scale * rest.powf(power) };
        formula.raised(power)
    }

    /// Σ, mean or max over axes of a product.
    pub(super) fn reduction(&mut self, how: Reduction, over: &[Axis], powers: Powers) -> Formula {
        if how == Reduction::Max {
            let (scale, inside) = self.within(over, vec![], powers);
            let inside = self.scaled(scale, inside);
            return Formula::big(Big::Max, self.letters_of(over), inside);
        }
        let (scale, formula) = match how {
            Reduction::Mean => self.scaled_mean(1.0, over, powers),
            _ => self.scaled_sum(over, powers),
        };
        self.scaled(scale, formula)
    }

    fn scaled(&mut self, scale: f64, formula: Formula) -> Formula {
        if scale == 1.0 { formula } else { self.quotient_with(scale, vec![], vec![formula]) }
    }

    fn scaled_sum(&mut self, over: &[Axis], powers: Powers) -> (f64, Formula) {
        let (norms, powers, left) = self.norms(over, powers);
        let (scale, inside) = self.within(&left, norms, powers);
        (scale, self.nested(&left, &[], inside))
    }

    /// scale · mean over `over` of a product: squares become norms, their means sums. Gives what is left of the scale.
    fn scaled_mean(&mut self, scale: f64, over: &[Axis], powers: Powers) -> (f64, Formula) {
        let (norms, powers, left) = self.norms(over, powers);
        let is_norm = |power: &(Expr, f64)| match self.graph.node(power.0) {
            Node::Reduce(_, over, _) => {
                !over.contains(&BATCH) && !self.graph.axes_of(power.0).contains(&BATCH)
            }
            _ => false,
        };
        let has_norms = !norms.is_empty() || powers.iter().any(|power| power.1 > 0.0 && is_norm(power));
        let (inner, inside) = self.within(&left, norms, powers);
        let summed = over.iter().filter(|axis| !left.contains(axis));
        let mut scale =
            scale * inner / summed.map(|&axis| self.graph.axes.extent(axis) as f64).product::<f64>();
        let (mut sums, mut means) = (Vec::new(), Vec::new());
        for axis in left {
            let whole = scale / self.graph.axes.extent(axis) as f64;
            // |i|/n · meanᵢ reads as Σᵢ / n.
            if axis != BATCH && (has_norms || is_share(whole) && !is_share(scale)) {
                scale = whole;
                sums.push(axis);
            } else {
                means.push(axis);
            }
        }
        (scale, self.nested(&sums, &means, inside))
    }

    /// Σ over `sums` of the mean over `means` of what stands inside.
    fn nested(&mut self, sums: &[Axis], means: &[Axis], inside: Formula) -> Formula {
        let inner = match means.is_empty() {
            true => inside,
            false => Formula::big(Big::Mean, self.letters_of(means), inside),
        };
        match sums.is_empty() {
            true => inner,
            false => Formula::big(Big::Sum, self.letters_of(sums), inner),
        }
    }

    /// A product with the entries along `axes` indexed, and its number apart.
    fn within(&mut self, axes: &[Axis], norms: Norms, powers: Powers) -> (f64, Formula) {
        let outer: Vec<Axis> = axes.iter().map(|&axis| self.outer_axis(axis)).collect();
        let number = |power: &(Expr, f64)| self.graph.as_number(power.0).map(|value| value.powf(power.1));
        let scale: f64 = powers.iter().filter_map(number).product();
        let powers: Powers = powers.iter().copied().filter(|power| number(power).is_none()).collect();
        self.indexing(&outer, |printer| {
            let norms: Vec<Formula> =
                norms.into_iter().map(|(base, over)| printer.norm(base, &over)).collect();
            let fraction = printer.pieces(scale.abs(), powers, norms);
            let sign = if scale < 0.0 { -1.0 } else { 1.0 };
            (sign * fraction.scale, fraction.written())
        })
    }

    /// Squares summed over axes that nothing else has become norms: (whose, over what), the rest, and the axes left.
    fn norms(&self, over: &[Axis], powers: Powers) -> (Norms, Powers, Vec<Axis>) {
        let mut left = over.to_vec();
        let mut norms = Vec::new();
        let mut rest = Vec::new();
        for (place, &(base, power)) in powers.iter().enumerate() {
            let others = powers.iter().enumerate().filter(|(other, _)| *other != place);
            let elsewhere: Vec<Axis> =
                others.flat_map(|(_, other)| self.graph.axes_of(other.0)).copied().collect();
            let axes = self.graph.axes_of(base);
            let own = over.iter().copied().filter(|axis| *axis != BATCH && axes.contains(axis));
            let own: Vec<Axis> = own.filter(|axis| !elsewhere.contains(axis)).collect();
            let reduced = matches!(self.graph.node(base), Node::Reduce(..));
            if power == 2.0 && !own.is_empty() && !reduced {
                left.retain(|axis| !own.contains(axis));
                norms.push((base, own));
            } else {
                rest.push((base, power));
            }
        }
        (norms, rest, left)
    }

    /// ‖W‖², ‖wᵢ‖² of a row, ‖(Wᵀ)ₖ‖² of a column, ‖zⱼ‖².
    fn norm(&mut self, base: Expr, over: &[Axis]) -> Formula {
        let axes = self.graph.axes_of(base).to_vec();
        let remaining: Vec<Axis> = axes.iter().copied().filter(|axis| !over.contains(axis)).collect();
        let outer = remaining.iter().map(|&axis| self.outer_axis(axis));
        // Rows are told by their letter always, samples only where they are summed over.
        let shown: Vec<Axis> = outer.filter(|axis| *axis != BATCH || self.bound.contains(axis)).collect();
        if !self.has_name(base) && !matches!(self.graph.node(base), Node::Symbol(_)) {
            return self.formula(base).squared_norm();
        }
        let bound = std::mem::take(&mut self.bound);
        let name = self.formula(base);
        self.bound = bound;
        let is_matrix = matches!(&name, Formula::Name(name) if name.base.starts_with(char::is_uppercase))
            && !axes.contains(&BATCH);
        let letters: Vec<Letter> = shown.iter().map(|&axis| self.letter(axis)).collect();
        let rows = axes.first() == remaining.first();
        let named = match (name, !letters.is_empty() && is_matrix) {
            (Formula::Name(name), true) if rows => row_name(name).into(),
            (name, true) => name.transpose(),
            (name, false) => name,
        };
        named.indexed(letters).squared_norm()
    }

    /// A x where neither is indexed along the sum, otherwise Σₖ Aᵢₖ·xₖ.
    pub(super) fn contraction(&mut self, left: Expr, right: Expr, over: &[Axis]) -> Formula {
        let axes = |expr: Expr| self.graph.axes_of(expr).to_vec();
        let free = |expr: Expr| axes(expr).iter().filter(|axis| !over.contains(axis)).count();
        let indexed = [left, right]
            .into_iter()
            .flat_map(&axes)
            .any(|axis| axis != BATCH && self.bound.contains(&self.outer_axis(axis)));
        let batch = |expr: Expr| axes(expr).contains(&BATCH);
        if !indexed && over == [BATCH] && free(left) == 1 && free(right) == 1 {
            let [left, right] =
                [left, right].map(|expr| self.indexing(&[BATCH], |printer| printer.formula(expr)));
            let outer = Formula::Matrix(vec![left, right.transpose()]);
            return Formula::big(Big::Sum, self.letters_of(&[BATCH]), outer);
        }
        let (matrix, vector) = match (batch(left), batch(right)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => (left, left),
        };
        if matrix == vector || free(matrix) != 1 || indexed || over.contains(&BATCH) {
            return self.index_sum(left, right, over);
        }
        let transposed = self.graph.axes_of(matrix).first().is_some_and(|first| over.contains(first));
        let name = self.formula(matrix);
        let name = if transposed { name.transpose() } else { name };
        Formula::Matrix(vec![name, self.formula(vector)])
    }

    fn index_sum(&mut self, left: Expr, right: Expr, over: &[Axis]) -> Formula {
        let outer: Vec<Axis> = over.iter().map(|&axis| self.outer_axis(axis)).collect();
        let inside = self.indexing(&outer, |printer| {
            Formula::product(vec![printer.formula(left), printer.formula(right)])
        });
        Formula::big(Big::Sum, self.letters_of(over), inside)
    }

    fn letters_of(&self, axes: &[Axis]) -> Vec<Letter> {
        let mut axes = axes.to_vec();
        axes.sort_by_key(|axis| *axis != BATCH);
        axes.iter().map(|&axis| self.letter(self.outer_axis(axis))).collect()
    }
}

/// The rows of W are w, unless that letter means something else.
fn row_name(name: Name) -> Name {
    let base = name.base.to_lowercase();
    let taken = base.starts_with(['l', 'm', 'p', 's', 'z']);
    if taken { name } else { Name { base, ..name } }
}

/// One over a whole number.
fn is_share(value: f64) -> bool {
    let inverse = 1.0 / value;
    (inverse - inverse.round()).abs() < 1e-9 * inverse.abs()
}
