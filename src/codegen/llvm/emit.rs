//! A thin layer over inkwell: values that are scalars or vectors alike, loops, memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::{Builder, BuilderError};
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicTypeEnum, FunctionType, VectorType};
use inkwell::values::{
    ArrayValue, BasicMetadataValueEnum, BasicValue, BasicValueEnum, FunctionValue, InstructionOpcode,
    IntValue, PointerValue, VectorValue,
};
use inkwell::{AddressSpace, FloatPredicate, IntPredicate};

use super::common::Common;
use crate::codegen::target::Target;
use crate::loops::{Elem, Ty};

/// A scalar, or a vector with one entry per lane.
pub type Value<'ctx> = BasicValueEnum<'ctx>;

/// What every emitter needs.
pub struct Emitter<'ctx> {
    pub context: &'ctx Context,
    pub module: Module<'ctx>,
    pub builder: Builder<'ctx>,
    pub target: Target,
    /// What other modules of the program have code for too.
    common: Option<Arc<Common>>,
    /// Functions whose code another module has, with the places of their addresses.
    elsewhere: RefCell<HashMap<FunctionValue<'ctx>, *const AtomicUsize>>,
    /// The names of those which others may call.
    offered: RefCell<Vec<String>>,
}

/// The builder refuses only instructions whose types do not fit, and the loops program has been verified.
pub fn must<T>(built: Result<T, BuilderError>) -> T {
    built.expect("the types of a verified program fit")
}

/// Where parts of these lengths begin that lie one behind the other.
pub fn starts(lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = i64> {
    lengths.scan(0, |end, length| {
        let start = *end;
        *end += length as i64;
        Some(start)
    })
}

/// 1 for a scalar.
pub fn lanes_of(value: Value) -> u32 {
    if value.is_vector_value() { value.get_type().into_vector_type().get_size() } else { 1 }
}

impl<'ctx> Emitter<'ctx> {
    pub fn new(context: &'ctx Context, name: &str, target: &Target, common: Option<Arc<Common>>) -> Self {
        Emitter {
            context,
            module: context.create_module(name),
            builder: context.create_builder(),
            target: target.clone(),
            common,
            elsewhere: RefCell::default(),
            offered: RefCell::default(),
        }
    }

    /// The names of the functions that other modules of the program may call.
    pub fn offered(&self) -> Vec<String> {
        self.offered.take()
    }

    /// `lanes` is 1 for scalars.
    pub fn ty(&self, ty: Ty, lanes: u32) -> BasicTypeEnum<'ctx> {
        let scalar: BasicTypeEnum = match ty {
            Ty::F32 => self.context.f32_type().into(),
            Ty::F64 => self.context.f64_type().into(),
            Ty::I32 => self.context.i32_type().into(),
            Ty::Bool => self.context.bool_type().into(),
        };
        self.widen(scalar, lanes)
    }

    /// Entries of a buffer as they lie in memory.
    pub fn elem(&self, elem: Elem, lanes: u32) -> BasicTypeEnum<'ctx> {
        match elem {
            Elem::Bf16 => self.widen(self.context.i16_type().into(), lanes),
            elem => self.ty(elem.into(), lanes),
        }
    }

    /// A vector of so many, or the scalar itself.
    pub fn widen(&self, scalar: BasicTypeEnum<'ctx>, lanes: u32) -> BasicTypeEnum<'ctx> {
        match scalar {
            _ if lanes == 1 => scalar,
            BasicTypeEnum::FloatType(ty) => ty.vec_type(lanes).into(),
            BasicTypeEnum::IntType(ty) => ty.vec_type(lanes).into(),
            other => other,
        }
    }

    pub fn i64(&self, value: i64) -> IntValue<'ctx> {
        self.context.i64_type().const_int(value as u64, true)
    }

    pub fn i32(&self, value: i32) -> IntValue<'ctx> {
        self.context.i32_type().const_int(value as u32 as u64, false)
    }

    /// A number of a float type, exactly as Rust rounds it.
    pub fn float(&self, value: f64, ty: Ty) -> Value<'ctx> {
        match ty {
            Ty::F32 => self.context.f32_type().const_float(f64::from(value as f32)).into(),
            _ => self.context.f64_type().const_float(value).into(),
        }
    }

    /// A function of the module, with the attributes that make LLVM use the target's features.
    pub fn function(
        &self,
        name: &str,
        params: &[BasicTypeEnum<'ctx>],
        linkage: Linkage,
    ) -> FunctionValue<'ctx> {
        self.function_of(name, self.function_type(params), linkage)
    }

    /// The type of functions that give nothing back.
    pub fn function_type(&self, params: &[BasicTypeEnum<'ctx>]) -> FunctionType<'ctx> {
        let params: Vec<_> = params.iter().map(|&ty| ty.into()).collect();
        self.context.void_type().fn_type(&params, false)
    }

    /// As [`Emitter::function`], of that type.
    pub fn function_of(&self, name: &str, ty: FunctionType<'ctx>, linkage: Linkage) -> FunctionValue<'ctx> {
        let function = self.module.add_function(name, ty, Some(linkage));
        let bits = self.target.vector_bits().to_string();
        for (key, value) in [
            ("target-cpu", self.target.baseline()),
            ("target-features", &self.target.feature_string()),
            ("prefer-vector-width", &bits),
            ("min-legal-vector-width", &bits),
        ] {
            let attribute = self.context.create_string_attribute(key, value);
            function.add_attribute(AttributeLoc::Function, attribute);
        }
        function.add_attribute(AttributeLoc::Function, self.enum_attribute("nounwind"));
        function
    }

    pub fn enum_attribute(&self, name: &str) -> Attribute {
        self.context.create_enum_attribute(Attribute::get_named_enum_kind_id(name), 0)
    }

    pub fn pointer_type(&self) -> BasicTypeEnum<'ctx> {
        self.context.ptr_type(AddressSpace::default()).into()
    }

    pub fn current_function(&self) -> FunctionValue<'ctx> {
        let block = self.builder.get_insert_block().expect("emission has begun");
        block.get_parent().expect("a block lies in a function")
    }

    /// Calls an LLVM intrinsic overloaded on `types`.
    pub fn intrinsic(&self, name: &str, types: &[BasicTypeEnum<'ctx>], args: &[Value<'ctx>]) -> Value<'ctx> {
        let function = self.intrinsic_function(name, types);
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|&arg| arg.into()).collect();
        must(self.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic()
    }

    /// Calls an intrinsic that gives nothing back.
    pub fn effect(&self, name: &str, args: &[Value<'ctx>]) {
        self.call(self.intrinsic_function(name, &[]), args);
    }

    fn intrinsic_function(&self, name: &str, types: &[BasicTypeEnum<'ctx>]) -> FunctionValue<'ctx> {
        let intrinsic = Intrinsic::find(name).expect("LLVM knows the intrinsic");
        intrinsic.get_declaration(&self.module, types).expect("overloaded on these types")
    }

    pub fn call(&self, function: FunctionValue<'ctx>, args: &[Value<'ctx>]) {
        if let Some(&place) = self.elsewhere.borrow().get(&function) {
            let pointer = self.context.ptr_type(AddressSpace::default());
            let place = self.i64(place as i64).const_to_pointer(pointer);
            let address = self.load(pointer.into(), place, 8, None).into_pointer_value();
            return self.call_at(function.get_type(), address, args);
        }
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|&arg| arg.into()).collect();
        must(self.builder.build_call(function, &args, ""));
    }

    /// Calls the function of that type at an address.
    pub fn call_at(&self, ty: FunctionType<'ctx>, function: PointerValue<'ctx>, args: &[Value<'ctx>]) {
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|&arg| arg.into()).collect();
        must(self.builder.build_indirect_call(ty, function, &args, ""));
    }

    pub fn binop(&self, op: InstructionOpcode, a: Value<'ctx>, b: Value<'ctx>) -> Value<'ctx> {
        must(self.builder.build_binop(op, a, b, ""))
    }

    pub fn cast(&self, op: InstructionOpcode, a: Value<'ctx>, ty: BasicTypeEnum<'ctx>) -> Value<'ctx> {
        must(self.builder.build_cast(op, a, ty, ""))
    }

    pub fn add(&self, a: IntValue<'ctx>, b: IntValue<'ctx>) -> IntValue<'ctx> {
        if a.is_const() && a.get_sign_extended_constant() == Some(0) {
            return b;
        }
        must(self.builder.build_int_add(a, b, ""))
    }

    pub fn scale(&self, a: IntValue<'ctx>, by: i64) -> IntValue<'ctx> {
        if by == 1 { a } else { must(self.builder.build_int_mul(a, self.i64(by), "")) }
    }

    pub fn select(&self, condition: Value<'ctx>, a: Value<'ctx>, b: Value<'ctx>) -> Value<'ctx> {
        must(match condition {
            BasicValueEnum::VectorValue(condition) => self.builder.build_select(condition, a, b, ""),
            condition => self.builder.build_select(condition.into_int_value(), a, b, ""),
        })
    }

    /// An ordered comparison of floats.
    pub fn compare_floats(&self, op: FloatPredicate, a: Value<'ctx>, b: Value<'ctx>) -> Value<'ctx> {
        match (a, b) {
            (BasicValueEnum::VectorValue(a), BasicValueEnum::VectorValue(b)) => {
                must(self.builder.build_float_compare(op, a, b, "")).into()
            }
            _ => must(self.builder.build_float_compare(op, a.into_float_value(), b.into_float_value(), ""))
                .into(),
        }
    }

    pub fn compare_ints(&self, op: IntPredicate, a: Value<'ctx>, b: Value<'ctx>) -> Value<'ctx> {
        match (a, b) {
            (BasicValueEnum::VectorValue(a), BasicValueEnum::VectorValue(b)) => {
                must(self.builder.build_int_compare(op, a, b, "")).into()
            }
            _ => must(self.builder.build_int_compare(op, a.into_int_value(), b.into_int_value(), "")).into(),
        }
    }

    pub fn negate(&self, a: Value<'ctx>) -> Value<'ctx> {
        match a {
            BasicValueEnum::VectorValue(a) => must(self.builder.build_float_neg(a, "")).into(),
            a => must(self.builder.build_float_neg(a.into_float_value(), "")).into(),
        }
    }

    /// a·b + c, in one rounding where the target has that at speed, else in two.
    pub fn mul_add(&self, a: Value<'ctx>, b: Value<'ctx>, c: Value<'ctx>) -> Value<'ctx> {
        if self.target.has_fma() {
            return self.intrinsic("llvm.fma", &[a.get_type()], &[a, b, c]);
        }
        let product = self.binop(InstructionOpcode::FMul, a, b);
        self.binop(InstructionOpcode::FAdd, product, c)
    }

    /// The same number in every lane.
    pub fn splat(&self, a: Value<'ctx>, lanes: u32) -> Value<'ctx> {
        if lanes == 1 || a.is_vector_value() {
            return a;
        }
        let ty = self.widen(a.get_type(), lanes).into_vector_type();
        let first = must(self.builder.build_insert_element(ty.get_poison(), a, self.i32(0), ""));
        self.shuffle(first, ty.get_poison(), &vec![0; lanes as usize]).into()
    }

    /// Lane i of the result is lane `order[i]` of `a` followed by `b`.
    pub fn shuffle(&self, a: VectorValue<'ctx>, b: VectorValue<'ctx>, order: &[u32]) -> VectorValue<'ctx> {
        let order: Vec<IntValue> = order.iter().map(|&lane| self.i32(lane as i32)).collect();
        must(self.builder.build_shuffle_vector(a, b, VectorType::const_vector(&order), ""))
    }

    pub fn lane(&self, a: VectorValue<'ctx>, lane: u32) -> Value<'ctx> {
        must(self.builder.build_extract_element(a, self.i32(lane as i32), ""))
    }

    /// True in the first `count` of `lanes` lanes.
    pub fn first_lanes(&self, count: u32, lanes: u32) -> VectorValue<'ctx> {
        let bit = self.context.bool_type();
        let bits: Vec<IntValue> =
            (0..lanes).map(|lane| bit.const_int(u64::from(lane < count), false)).collect();
        VectorType::const_vector(&bits)
    }

    /// The first entries of the vectors that so many entries take, the last one with a mask where it is no whole one.
    pub fn cover(&self, entries: u64) -> Vec<(u64, Option<VectorValue<'ctx>>)> {
        let lanes = u64::from(self.target.lanes());
        let vector = |first: u64| {
            let left = (entries - first).min(lanes);
            (first, (left < lanes).then(|| self.first_lanes(left as u32, lanes as u32)))
        };
        (0..entries).step_by(lanes as usize).map(vector).collect()
    }

    /// Pointer to entry `index` of type `ty` from `base`.
    pub fn element(
        &self,
        ty: BasicTypeEnum<'ctx>,
        base: PointerValue<'ctx>,
        index: IntValue<'ctx>,
    ) -> PointerValue<'ctx> {
        // SAFETY: the verifier has proved that the index lies inside the buffer.
        must(unsafe { self.builder.build_in_bounds_gep(ty, base, &[index], "") })
    }

    /// Pointer `bytes` behind `base`.
    pub fn offset(&self, base: PointerValue<'ctx>, bytes: usize) -> PointerValue<'ctx> {
        self.behind(base, self.i64(bytes as i64))
    }

    /// The like for a number of bytes that is known when the code runs.
    pub fn behind(&self, base: PointerValue<'ctx>, bytes: IntValue<'ctx>) -> PointerValue<'ctx> {
        self.element(self.context.i8_type().into(), base, bytes)
    }

    /// Loads a scalar, or a vector from consecutive entries; lanes where `mask` is false are zero and not touched.
    pub fn load(
        &self,
        ty: BasicTypeEnum<'ctx>,
        from: PointerValue<'ctx>,
        align: u32,
        mask: Option<VectorValue<'ctx>>,
    ) -> Value<'ctx> {
        let Some(mask) = mask else {
            let loaded = must(self.builder.build_load(ty, from, ""));
            let inst = loaded.as_instruction_value().expect("a load is an instruction");
            inst.set_alignment(align).expect("a power of two");
            return loaded;
        };
        let function = self.intrinsic_function("llvm.masked.load", &[ty, self.pointer_type()]);
        let zero = ty.const_zero();
        self.masked(function, &[from.into()], align, &[mask.into(), zero]).expect("a load has a value")
    }

    pub fn store(
        &self,
        value: Value<'ctx>,
        to: PointerValue<'ctx>,
        align: u32,
        mask: Option<VectorValue<'ctx>>,
    ) {
        let Some(mask) = mask else {
            let store = must(self.builder.build_store(to, value));
            return store.set_alignment(align).expect("a power of two");
        };
        let function = self.intrinsic_function("llvm.masked.store", &[value.get_type(), self.pointer_type()]);
        self.masked(function, &[value, to.into()], align, &[mask.into()]);
    }

    /// Loads one entry per lane from a vector of pointers.
    pub fn gather(
        &self,
        ty: BasicTypeEnum<'ctx>,
        from: Value<'ctx>,
        align: u32,
        mask: VectorValue<'ctx>,
    ) -> Value<'ctx> {
        let function = self.intrinsic_function("llvm.masked.gather", &[ty, from.get_type()]);
        self.masked(function, &[from], align, &[mask.into(), ty.const_zero()]).expect("a load has a value")
    }

    /// Stores one entry per lane through a vector of pointers, lower lanes first.
    pub fn scatter(&self, value: Value<'ctx>, to: Value<'ctx>, align: u32, mask: VectorValue<'ctx>) {
        let function = self.intrinsic_function("llvm.masked.scatter", &[value.get_type(), to.get_type()]);
        self.masked(function, &[value, to], align, &[mask.into()]);
    }

    /// Calls a masked memory intrinsic. Up to LLVM 21 the alignment is an argument between `first` and `last`; from
    /// 22 on it is an attribute of the pointer, which is the last of `first`.
    fn masked(
        &self,
        function: FunctionValue<'ctx>,
        first: &[Value<'ctx>],
        align: u32,
        last: &[Value<'ctx>],
    ) -> Option<Value<'ctx>> {
        let as_argument = function.count_params() as usize > first.len() + last.len();
        let align_argument: Option<Value> = as_argument.then(|| self.i32(align as i32).into());
        let args: Vec<BasicMetadataValueEnum> =
            first.iter().copied().chain(align_argument).chain(last.iter().copied()).map(Into::into).collect();
        let call = must(self.builder.build_call(function, &args, ""));
        if !as_argument {
            let kind = Attribute::get_named_enum_kind_id("align");
            let attribute = self.context.create_enum_attribute(kind, u64::from(align));
            call.add_attribute(AttributeLoc::Param(first.len() as u32 - 1), attribute);
        }
        call.try_as_basic_value().basic()
    }

    /// A local variable, which the optimizer turns into registers.
    pub fn local(&self, ty: BasicTypeEnum<'ctx>) -> PointerValue<'ctx> {
        let here = self.builder.get_insert_block().expect("emission has begun");
        let entry = self.current_function().get_first_basic_block().expect("the function has a body");
        match entry.get_first_instruction() {
            Some(first) => self.builder.position_before(&first),
            None => self.builder.position_at_end(entry),
        }
        let local = must(self.builder.build_alloca(ty, ""));
        self.builder.position_at_end(here);
        local
    }

    /// Runs `body` for 0, 1, … `count`-1; at least once.
    pub fn repeat(&self, count: IntValue<'ctx>, body: impl FnOnce(IntValue<'ctx>)) {
        if count.get_sign_extended_constant() == Some(1) {
            return body(self.i64(0));
        }
        let before = self.builder.get_insert_block().expect("emission has begun");
        let function = self.current_function();
        let (inside, after) = (
            self.context.append_basic_block(function, "loop"),
            self.context.append_basic_block(function, "done"),
        );
        must(self.builder.build_unconditional_branch(inside));
        self.builder.position_at_end(inside);
        let phi = must(self.builder.build_phi(self.context.i64_type(), ""));
        let index = phi.as_basic_value().into_int_value();
        body(index);
        let next = must(self.builder.build_int_nuw_add(index, self.i64(1), ""));
        let last = self.builder.get_insert_block().expect("emission goes on");
        phi.add_incoming(&[(&self.i64(0), before), (&next, last)]);
        let again = must(self.builder.build_int_compare(IntPredicate::ULT, next, count, ""));
        must(self.builder.build_conditional_branch(again, inside, after));
        self.builder.position_at_end(after);
    }

    /// Runs `body` for 0, 1, … `count`-1, which may be none.
    pub fn repeat_any(&self, count: IntValue<'ctx>, body: impl FnOnce(IntValue<'ctx>)) {
        self.when(self.some(count), || self.repeat(count, body));
    }

    /// Whether an i64 is not zero.
    pub fn some(&self, count: IntValue<'ctx>) -> IntValue<'ctx> {
        must(self.builder.build_int_compare(IntPredicate::NE, count, self.i64(0), ""))
    }

    /// Runs `body` when `condition` holds.
    pub fn when(&self, condition: IntValue<'ctx>, body: impl FnOnce()) {
        let function = self.current_function();
        let (then, after) = (
            self.context.append_basic_block(function, "then"),
            self.context.append_basic_block(function, "after"),
        );
        must(self.builder.build_conditional_branch(condition, then, after));
        self.builder.position_at_end(then);
        body();
        must(self.builder.build_unconditional_branch(after));
        self.builder.position_at_end(after);
    }

    /// The function of that name, which is not inlined and whose parameters `noalias` are the only way to what they point to; `body`
    /// emits it unless this module knows it already, or another one of the program has it. Emission goes on where it was.
    pub fn define(
        &self,
        name: &str,
        params: &[BasicTypeEnum<'ctx>],
        noalias: &[u32],
        body: impl FnOnce(FunctionValue<'ctx>),
    ) -> FunctionValue<'ctx> {
        if let Some(known) = self.module.get_function(name) {
            return known;
        }
        if let Some(place) = self.common.as_ref().and_then(|common| common.place(name)) {
            let function = self.function(name, params, Linkage::External);
            self.elsewhere.borrow_mut().insert(function, place);
            return function;
        }
        let linkage = if self.common.is_some() { Linkage::External } else { Linkage::Internal };
        self.offered.borrow_mut().push(name.to_string());
        let here = self.builder.get_insert_block().expect("emission has begun");
        let function = self.function(name, params, linkage);
        function.add_attribute(AttributeLoc::Function, self.enum_attribute("noinline"));
        for &number in noalias {
            function.add_attribute(AttributeLoc::Param(number), self.enum_attribute("noalias"));
        }
        self.begin(function);
        body(function);
        self.finish();
        self.builder.position_at_end(here);
        function
    }

    /// A constant table of the module.
    pub fn table(&self, name: &str, numbers: impl IntoIterator<Item = i64>) -> PointerValue<'ctx> {
        let numbers: Vec<IntValue> = numbers.into_iter().map(|number| self.i64(number)).collect();
        self.constant(name, self.context.i64_type().const_array(&numbers))
    }

    /// An entry of a table of i64.
    pub fn look_up(&self, table: PointerValue<'ctx>, index: IntValue<'ctx>) -> IntValue<'ctx> {
        let int = self.context.i64_type().into();
        self.load(int, self.element(int, table, index), 8, None).into_int_value()
    }

    /// A constant table of functions.
    pub fn functions(&self, name: &str, functions: &[FunctionValue<'ctx>]) -> PointerValue<'ctx> {
        let addresses: Vec<PointerValue> =
            functions.iter().map(|function| function.as_global_value().as_pointer_value()).collect();
        self.constant(name, self.context.ptr_type(AddressSpace::default()).const_array(&addresses))
    }

    fn constant(&self, name: &str, table: ArrayValue<'ctx>) -> PointerValue<'ctx> {
        let global = self.module.add_global(table.get_type(), None, name);
        global.set_initializer(&table);
        global.set_constant(true);
        global.set_unnamed_addr(true);
        global.set_linkage(Linkage::Private);
        global.as_pointer_value()
    }

    /// Begins the body of a function.
    pub fn begin(&self, function: FunctionValue<'ctx>) {
        self.builder.position_at_end(self.context.append_basic_block(function, "entry"));
    }

    pub fn finish(&self) {
        must(self.builder.build_return(None));
    }
}
