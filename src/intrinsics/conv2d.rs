//! Convolution of images (cross-correlation, no kernel flip): y\[c, i, j\] = Σ W\[c, e, k, l\] x\[e, s·i + k − p, s·j + l − p\],
//! zeros outside. W: \[c, ci/groups, kh, kw\], x: \[ci, h, w\]; with groups, channels meet only within their own group.
//! Written as the contraction of W with the patches of x.

use ndarray::ArrayD;

use super::elementwise::{check_numbers, describe};
use super::patches::{Geometry, patches, whole, windows_along};
use super::{
    Attr, AttrDefault, AttrKind, Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference,
};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::{Expr, Graph};

pub(super) struct Conv2d;

/// The axes of both arguments, and how windows lie on the image.
struct Call {
    /// Output channels, input channels of a group, rows and columns of the kernel.
    weight: [Axis; 4],
    channels: Axis,
    plane: [Axis; 2],
    groups: usize,
    geometry: [Geometry; 2],
}

impl Conv2d {
    fn call(&self, table: &AxisTable, args: &[Type], attrs: &Attrs) -> Result<Call, ShapeError> {
        let name = self.name();
        args.iter().try_for_each(|arg| check_numbers(name, arg))?;
        let features: Vec<Axis> = args[1].axes.iter().copied().filter(|axis| *axis != BATCH).collect();
        let shape = |axes: &[Axis]| describe(table, axes);
        let (&[c, e, kh, kw], &[channels, h, w]) = (&args[0].axes[..], &features[..]) else {
            let message = format!(
                "`{name}` takes a kernel [c, ci, kh, kw] and an image [ci, h, w], not {} and {}",
                shape(&args[0].axes),
                shape(&args[1].axes)
            );
            return Err(ShapeError { message, help: None });
        };
        let [stride, groups] = [whole(name, attrs, "stride", 1)?, whole(name, attrs, "groups", 1)?];
        let pad = whole(name, attrs, "pad", 0)?;
        let geometry = [kh, kw].map(|taps| Geometry { kernel: table.extent(taps), stride, pad });
        let call = Call { weight: [c, e, kh, kw], channels, plane: [h, w], groups, geometry };
        call.check_channels(table)?;
        Ok(call)
    }
}

impl Call {
    fn check_channels(&self, table: &AxisTable) -> Result<(), ShapeError> {
        let [out, own] = [self.weight[0], self.weight[1]].map(|axis| table.extent(axis));
        let (channels, groups) = (table.extent(self.channels), self.groups);
        if own.saturating_mul(groups) != channels {
            let message = format!(
                "the image has {channels} channels, the kernel {own} in each of {groups} group{}",
                if groups == 1 { "" } else { "s" }
            );
            let help = "the kernel's second axis must be the image's channels divided by the groups";
            return Err(ShapeError { message, help: Some(help.into()) });
        }
        if !out.is_multiple_of(groups) {
            let message = format!("{out} output channels do not divide into {groups} groups");
            return Err(ShapeError { message, help: None });
        }
        Ok(())
    }

    /// W and x with their channels cut into groups, and the axes (group, output channel of it).
    fn grouped(&self, graph: &mut Graph, weight: Expr, x: Expr) -> (Expr, Expr, [Axis; 2]) {
        let [c, e, ..] = self.weight;
        let group = graph.axes.fresh("group", self.groups);
        let inner = graph.axes.fresh(graph.axes.name(c).to_string(), graph.axes.extent(c) / self.groups);
        let weight = graph.reshape(weight, &[c], &[group, inner]);
        (weight, graph.reshape(x, &[self.channels], &[group, e]), [group, inner])
    }
}

impl Intrinsic for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn signature(&self) -> Signature {
        Signature {
            tensors: &["W", "x"],
            attrs: &[
                ("stride", AttrKind::Int, Some(AttrDefault::Int(1))),
                ("pad", AttrKind::Int, Some(AttrDefault::Int(0))),
                ("groups", AttrKind::Int, Some(AttrDefault::Int(1))),
            ],
        }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        let call = self.call(axes, args, attrs)?;
        let mut kept: Vec<Axis> = args[1].axes.iter().copied().filter(|axis| *axis == BATCH).collect();
        kept.push(call.weight[0]);
        for (axis, geometry) in call.plane.into_iter().zip(call.geometry) {
            kept.push(windows_along(self.name(), axes, axis, geometry)?);
        }
        Ok(Type::float(kept))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], attrs: &Attrs, out: &Type) -> Expr {
        // `infer` has accepted these types already.
        let (Ok(call), [.., h, w]) = (self.call(&graph.axes, types, attrs), &out.axes[..]) else {
            return args[0];
        };
        let [c, e, kh, kw] = call.weight;
        let [weight, x] = [0, 1].map(|i| graph.spread(args[i], &types[i].axes));
        let over = [e, kh, kw];
        if call.groups == 1 {
            let x = graph.reshape(x, &[call.channels], &[e]);
            let patches = patches(graph, x, call.plane, [*h, *w], [kh, kw], call.geometry);
            let product = graph.contract(weight, patches, &over);
            return graph.spread(product, &out.axes);
        }
        let (weight, x, channels) = call.grouped(graph, weight, x);
        let patches = patches(graph, x, call.plane, [*h, *w], [kh, kw], call.geometry);
        let product = graph.contract(weight, patches, &over);
        let product = graph.reshape(product, &channels, &[c]);
        graph.spread(product, &out.axes)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let types = [0, 1].map(|i| Type::float(args[i].axes.clone()));
        let (Ok(call), [.., y_h, y_w]) = (self.call(axes, &types, attrs), &out.axes[..]) else {
            return ArrayD::zeros(vec![]);
        };
        let [c, e, kh, kw] = call.weight;
        let [taps, image] = [0, 1].map(|i| reference::Strided::of(args[i]));
        let [of_e, of_kh, of_kw] = [e, kh, kw].map(|axis| taps.stride(axis));
        let [of_channels, of_rows, of_columns] =
            [call.channels, call.plane[0], call.plane[1]].map(|axis| image.stride(axis));
        let per_group = axes.extent(c) / call.groups;
        reference::tabulate(axes, &out.axes, |place| {
            let first = place(c) / per_group * axes.extent(e);
            let own = taps.at(&|axis| if axis == c { place(c) } else { 0 });
            let corner = image.at(&|axis| match axis {
                _ if axis == call.channels => first,
                _ if call.plane.contains(&axis) => 0,
                _ => place(axis),
            });
            let position = |i: usize, y: Axis, tap: usize| {
                call.geometry[i].position(axes.extent(call.plane[i]), place(y), tap)
            };
            let mut sum = 0.0;
            for (k, l) in (0..axes.extent(kh)).flat_map(|k| (0..axes.extent(kw)).map(move |l| (k, l))) {
                let (Some(row), Some(column)) = (position(0, *y_h, k), position(1, *y_w, l)) else {
                    continue;
                };
                let tap = own + k * of_kh + l * of_kw;
                let pixel = corner + row * of_rows + column * of_columns;
                for channel in 0..axes.extent(e) {
                    sum += taps.entries[tap + channel * of_e] * image.entries[pixel + channel * of_channels];
                }
            }
            sum
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [n, c, h, w, o, e, k, l] = [0, 1, 2, 3, 4, 5, 6, 7].map(Axis);
        // Batch, channels, image, output channels, channels of a group, kernel; stride, pad, groups.
        let cases = [
            ([2, 2, 4, 3, 3, 2, 3, 3], [1, 1, 1]),
            ([1, 1, 4, 7, 1, 1, 2, 3], [1, 0, 1]),
            ([1, 2, 6, 5, 2, 2, 3, 3], [2, 1, 1]),
            ([1, 4, 4, 3, 4, 2, 3, 3], [1, 1, 2]),
            ([1, 3, 4, 4, 6, 1, 3, 3], [2, 1, 3]),
            ([5, 3, 4, 3, 7, 3, 1, 1], [1, 0, 1]),
            ([2, 2, 5, 5, 3, 2, 1, 1], [2, 0, 1]),
            ([1, 2, 3, 3, 2, 2, 3, 3], [1, 0, 1]),
            ([1, 1, 7, 7, 2, 1, 2, 2], [3, 1, 1]),
            ([4, 2, 3, 3, 5, 2, 3, 3], [1, 1, 1]),
            ([4, 2, 4, 3, 4, 2, 3, 3], [2, 1, 1]),
        ];
        let problem = |(extents, [stride, pad, groups]): ([usize; 8], [i64; 3])| Problem {
            extents: extents.to_vec(),
            args: vec![Type::float(vec![o, e, k, l]), Type::float(vec![n, c, h, w])],
            attrs: Attrs::from_iter([
                ("stride", Attr::Int(stride)),
                ("pad", Attr::Int(pad)),
                ("groups", Attr::Int(groups)),
            ]),
            range: (-1.0, 1.0),
            points: vec![0.0],
        };
        cases.into_iter().map(problem).collect()
    }
}
