//! A transform out of one function of one row: [`transform!`](crate::transform) reads the columns from its arguments.
//!
//! The function stays an ordinary one, so that a test calls it as it is. The macro only writes down what the traits here
//! know of each type; it allocates nothing for each row, and a transform with one output writes it straight into the
//! answer, like one that was written by hand.

use std::mem::MaybeUninit;

use crate::rows::{BoolLists, Bools, Embeddings, Fixed, FixedValue, Items, Lists, Texts};
use crate::{Failure, Outputs, Parameters, Refusal, Rows, Transform, Type, Value};

/// Microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Days since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

/// Why one row is refused: its outputs become null, and the caller is told. `code` is 1000 or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    pub code: u32,
    pub message: String,
}

impl Refuse {
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What an argument of a function can be: a column's value in one row. `Option` of one takes nulls.
pub trait Argument<'a>: Sized {
    const KIND: Type;
    const TAKES_NULLS: bool = false;
    type Column;
    fn column(rows: &Rows<'a>, position: usize) -> Result<Self::Column, Failure>;
    /// Nothing if the row is null and the argument takes no nulls; the function is not called then.
    fn get(column: &Self::Column, row: usize) -> Option<Self>;
}

/// What a field of the answer can be: a column's value in one row. `Option` of one can be null.
pub trait Answer: Sized {
    const KIND: Type;
    type Plain;
    fn plain(self) -> Option<Self::Plain>;
    fn write(outputs: &mut Outputs, name: &str, value: impl FnMut(usize) -> Option<Self::Plain>)
    -> Result<(), Failure>;
}

/// What a parameter can be.
pub trait Parameter<'a>: Sized {
    fn value(self) -> Value;
    fn of(parameters: &'a Parameters, name: &str) -> Result<Self, Refusal>;
}

/// From the answer of a function to the transform that the macro made of it, which has no name.
pub trait Computed {
    type By: Transform;
}

/// The input columns of one call, one after the other in the order of the frame.
pub struct Columns<'r, 'a> {
    rows: &'r Rows<'a>,
    position: usize,
}

impl<'r, 'a> Columns<'r, 'a> {
    pub fn of(rows: &'r Rows<'a>) -> Self {
        Self { rows, position: 0 }
    }

    pub fn take<T: Argument<'a>>(&mut self) -> Result<T::Column, Failure> {
        let position = self.position;
        self.position += 1;
        T::column(self.rows, position)
    }
}

impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    const KIND: Type = T::KIND;
    const TAKES_NULLS: bool = true;
    type Column = T::Column;
    fn column(rows: &Rows<'a>, position: usize) -> Result<T::Column, Failure> {
        T::column(rows, position)
    }
    fn get(column: &T::Column, row: usize) -> Option<Self> {
        Some(T::get(column, row))
    }
}

impl<T: Answer> Answer for Option<T> {
    const KIND: Type = T::KIND;
    type Plain = T::Plain;
    fn plain(self) -> Option<T::Plain> {
        self.and_then(T::plain)
    }
    fn write(outputs: &mut Outputs, name: &str, value: impl FnMut(usize) -> Option<T::Plain>) -> Result<(), Failure> {
        T::write(outputs, name, value)
    }
}

macro_rules! argument {
    ($($native:ty, $kind:expr, $column:ty, $rows:ident, $get:expr;)*) => { $(
        impl<'a> Argument<'a> for $native {
            const KIND: Type = $kind;
            type Column = $column;
            fn column(rows: &Rows<'a>, position: usize) -> Result<$column, Failure> {
                rows.$rows(position)
            }
            fn get(column: &$column, row: usize) -> Option<Self> {
                let get: fn(&$column, usize) -> Option<Self> = $get;
                get(column, row)
            }
        }
    )* };
}
argument! {
    bool, Type::Bool, Bools<'a>, bools, |column, row| column.get(row);
    i32, Type::Int32, Fixed<'a, i32>, int32s, |column, row| column.get(row);
    i64, Type::Int64, Fixed<'a, i64>, int64s, |column, row| column.get(row);
    f32, Type::Float32, Fixed<'a, f32>, float32s, |column, row| column.get(row);
    f64, Type::Float64, Fixed<'a, f64>, float64s, |column, row| column.get(row);
    &'a str, Type::String, Texts<'a>, strings, |column, row| column.get(row);
    &'a [u8], Type::Bytes, Texts<'a>, bytes, |column, row| column.bytes(row);
    Timestamp, Type::Timestamp, Fixed<'a, i64>, timestamps, |column, row| column.get(row).map(Timestamp);
    Date, Type::Date, Fixed<'a, i32>, dates, |column, row| column.get(row).map(Date);
    Vec<bool>, Type::BoolList, BoolLists<'a>, bool_lists, |column, row| column.get(row);
    Items<'a, i32>, Type::Int32List, Lists<'a, i32>, lists, |column, row| column.get(row);
    Items<'a, i64>, Type::Int64List, Lists<'a, i64>, lists, |column, row| column.get(row);
    Items<'a, f32>, Type::Float32List, Lists<'a, f32>, lists, |column, row| column.get(row);
    Items<'a, f64>, Type::Float64List, Lists<'a, f64>, lists, |column, row| column.get(row);
    Items<'a, Timestamp>, Type::TimestampList, Lists<'a, Timestamp>, lists, |column, row| column.get(row);
}

impl<'a, const WIDTH: usize> Argument<'a> for [f32; WIDTH] {
    const KIND: Type = Type::Embedding(WIDTH as u32);
    type Column = Embeddings<'a>;
    fn column(rows: &Rows<'a>, position: usize) -> Result<Embeddings<'a>, Failure> {
        rows.embeddings(position)
    }
    fn get(column: &Embeddings<'a>, row: usize) -> Option<Self> {
        let mut values = [0.0; WIDTH];
        values.iter_mut().zip(column.get(row)?.iter()).for_each(|(place, value)| *place = value);
        Some(values)
    }
}

macro_rules! answer {
    ($($native:ty, $kind:expr, $plain:ty, $outputs:ident, $plainly:expr;)*) => { $(
        impl Answer for $native {
            const KIND: Type = $kind;
            type Plain = $plain;
            fn plain(self) -> Option<$plain> {
                let plain: fn(Self) -> $plain = $plainly;
                Some(plain(self))
            }
            fn write(
                outputs: &mut Outputs,
                name: &str,
                value: impl FnMut(usize) -> Option<$plain>,
            ) -> Result<(), Failure> {
                outputs.$outputs(name, value)
            }
        }
    )* };
}
answer! {
    bool, Type::Bool, bool, bools, |value| value;
    i32, Type::Int32, i32, int32s, |value| value;
    i64, Type::Int64, i64, int64s, |value| value;
    f32, Type::Float32, f32, float32s, |value| value;
    f64, Type::Float64, f64, float64s, |value| value;
    String, Type::String, String, strings, |value| value;
    &'static str, Type::String, &'static str, strings, |value| value;
    Vec<u8>, Type::Bytes, Vec<u8>, bytes, |value| value;
    Timestamp, Type::Timestamp, i64, timestamps, |value| value.0;
    Date, Type::Date, i32, dates, |value| value.0;
    Vec<bool>, Type::BoolList, Vec<bool>, bool_lists, |value| value;
    Vec<i32>, Type::Int32List, Vec<i32>, lists, |value| value;
    Vec<i64>, Type::Int64List, Vec<i64>, lists, |value| value;
    Vec<f32>, Type::Float32List, Vec<f32>, lists, |value| value;
    Vec<f64>, Type::Float64List, Vec<f64>, lists, |value| value;
    Vec<Timestamp>, Type::TimestampList, Vec<Timestamp>, lists, |value| value;
}

impl<const WIDTH: usize> Answer for [f32; WIDTH] {
    const KIND: Type = Type::Embedding(WIDTH as u32);
    type Plain = Vec<f32>;
    fn plain(self) -> Option<Vec<f32>> {
        Some(self.to_vec())
    }
    fn write(outputs: &mut Outputs, name: &str, value: impl FnMut(usize) -> Option<Vec<f32>>) -> Result<(), Failure> {
        outputs.embeddings(name, value)
    }
}

impl FixedValue for Timestamp {
    const WIDTH: usize = 8;
    const SCALARS: &'static [Type] = &[Type::Timestamp];
    const LISTS: &'static [Type] = &[Type::TimestampList];
    fn read(bytes: &[u8]) -> Self {
        Self(i64::read(bytes))
    }
    fn at(values: &[u8], position: usize) -> Self {
        Self(i64::at(values, position))
    }
    fn write(self, place: &mut [MaybeUninit<u8>]) {
        self.0.write(place);
    }
}

macro_rules! parameter {
    ($($native:ty, $variant:ident, $of:ident;)*) => { $(
        impl<'a> Parameter<'a> for $native {
            fn value(self) -> Value {
                Value::$variant(self.into())
            }
            fn of(parameters: &'a Parameters, name: &str) -> Result<Self, Refusal> {
                parameters.$of(name)
            }
        }
    )* };
}
parameter! {
    bool, Bool, bool;
    i64, Int, int;
    f64, Float, float;
    &'a str, String, string;
}

/// Makes a plugin of one function of one row.
///
/// ```ignore
/// lockstep_plugin::transform! {
///     name: "fare_ratio",
///     version: "1.0.0",
///     doc: "The planned fare over the usual one, cut at a maximum.",
///
///     fn fare_ratio(
///         usual_fare: f64,
///         #[request] planned_fare: f64,
///         #[parameter(default = 10.0, doc = "The largest ratio.", valid = most > 0.0)] most: f64,
///     ) -> FareRatio { fare_ratio: Option<f64> } {
///         FareRatio { fare_ratio: (usual_fare > 0.0).then(|| (planned_fare / usual_fare).min(most)) }
///     }
/// }
/// ```
///
/// - An argument is a feature, `#[request]` makes it a request field, `#[parameter(…)]` a parameter. An argument called
///   `as_of`, of type [`Timestamp`], is the time of the request, or of the label in training.
/// - Types: `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `&[u8]`, [`Timestamp`], [`Date`], `[f32; N]` (an embedding),
///   `Items<…>` and `Vec<bool>` (lists); of parameters `bool`, `i64`, `f64`, `&str`. Answers own what they hold:
///   `String`, `Vec<…>`.
/// - An `Option` among the arguments says that the transform handles nulls; a row with a null in another argument has
///   null outputs all the same. Without one the gateway nulls the outputs of every row with a null.
/// - `-> Result<FareRatio { … }, Refuse>` lets the function refuse a row.
#[macro_export]
macro_rules! transform {
    (
        name: $name:literal, version: $version:literal, doc: $doc:literal,
        fn $function:ident($($arguments:tt)*) -> Result<$answer:ident { $($outputs:tt)* }, Refuse> $body:block
    ) => {
        $crate::transform!(@read
            { $name, $version, $doc, $function, $answer, { $($outputs)* }, (Result<$answer, $crate::Refuse>), (), $body }
            [] [] [] [] [] $($arguments)*);
    };
    (
        name: $name:literal, version: $version:literal, doc: $doc:literal,
        fn $function:ident($($arguments:tt)*) -> $answer:ident { $($outputs:tt)* } $body:block
    ) => {
        $crate::transform!(@read
            { $name, $version, $doc, $function, $answer, { $($outputs)* }, ($answer), (Ok), $body }
            [] [] [] [] [] $($arguments)*);
    };

    // The arguments, one after the other: into as_of, features, request fields or parameters, and into the list of all.
    (@read $head:tt [$($as_of:tt)*] [$($feature:tt)*] [$($request:tt)*] [$($parameter:tt)*] [$($all:tt)*]
        #[request] $argument:ident: $kind:ty $(, $($rest:tt)*)?) => {
        $crate::transform!(@read $head [$($as_of)*] [$($feature)*] [$($request)* ($argument $kind)] [$($parameter)*]
            [$($all)* ($argument $kind)] $($($rest)*)?);
    };
    (@read $head:tt [$($as_of:tt)*] [$($feature:tt)*] [$($request:tt)*] [$($parameter:tt)*] [$($all:tt)*]
        #[parameter(default = $default:expr, doc = $doc:literal $(, valid = $valid:expr)? $(,)?)]
        $argument:ident: $kind:ty $(, $($rest:tt)*)?) => {
        $crate::transform!(@read $head [$($as_of)*] [$($feature)*] [$($request)*]
            [$($parameter)* ($argument $kind, $default, $doc, [$($valid)?])]
            [$($all)* ($argument $kind)] $($($rest)*)?);
    };
    (@read $head:tt [$($as_of:tt)*] [$($feature:tt)*] [$($request:tt)*] [$($parameter:tt)*] [$($all:tt)*]
        $argument:ident: $kind:ty $(, $($rest:tt)*)?) => {
        $crate::transform!(@plain $argument $head [$($as_of)*] [$($feature)*] [$($request)*] [$($parameter)*]
            [$($all)*] ($argument $kind) $($($rest)*)?);
    };
    (@plain as_of $head:tt [] [$($feature:tt)*] [$($request:tt)*] [$($parameter:tt)*] [$($all:tt)*]
        $argument:tt $($rest:tt)*) => {
        $crate::transform!(@read $head [$argument] [$($feature)*] [$($request)*] [$($parameter)*]
            [$($all)* $argument] $($rest)*);
    };
    (@plain $name:ident $head:tt [$($as_of:tt)*] [$($feature:tt)*] [$($request:tt)*] [$($parameter:tt)*] [$($all:tt)*]
        $argument:tt $($rest:tt)*) => {
        $crate::transform!(@read $head [$($as_of)*] [$($feature)* $argument] [$($request)*] [$($parameter)*]
            [$($all)* $argument] $($rest)*);
    };

    (@read
        {
            $name:literal, $version:literal, $doc:literal, $function:ident, $answer:ident,
            { $($output:ident: $output_kind:ty),+ $(,)? }, ($returned:ty), ($($ok:ident)?), $body:block
        }
        [$(($as_of:ident $as_of_kind:ty))?]
        [$(($feature:ident $feature_kind:ty))*]
        [$(($request:ident $request_kind:ty))*]
        [$(($parameter:ident $parameter_kind:ty, $default:expr, $parameter_doc:literal, [$($valid:expr)?]))*]
        [$(($all:ident $all_kind:ty))*]
    ) => {
        #[derive(Clone, Debug, PartialEq)]
        struct $answer {
            $($output: $output_kind,)+
        }

        #[inline]
        #[allow(clippy::too_many_arguments)]
        fn $function($($all: $all_kind),*) -> $returned $body

        const _: () = {
            #[allow(unused_imports)]
            use $crate::function::{Answer, Argument, Columns, Parameter};

            struct Function {
                #[allow(dead_code)]
                parameters: $crate::Parameters,
            }

            impl $crate::Transform for Function {
                fn describe() -> $crate::Signature {
                    let takes_nulls: &[bool] = &[
                        $(<$feature_kind as Argument>::TAKES_NULLS,)* $(<$request_kind as Argument>::TAKES_NULLS,)*
                    ];
                    let signature = $crate::Signature::new($name, $version).doc($doc);
                    $(
                        let _: fn($as_of_kind) -> $crate::Timestamp = |$as_of| $as_of;
                        let signature = signature.as_of();
                    )?
                    $(let signature = signature.feature(stringify!($feature), <$feature_kind as Argument>::KIND);)*
                    $(let signature = signature.request(stringify!($request), <$request_kind as Argument>::KIND);)*
                    $(let signature = signature.output(stringify!($output), <$output_kind as Answer>::KIND);)+
                    $(
                        let default = <$parameter_kind as Parameter>::value($default);
                        let signature = signature.parameter(stringify!($parameter), default, $parameter_doc);
                    )*
                    if takes_nulls.contains(&true) { signature.handles_nulls() } else { signature }
                }

                fn bind(parameters: &$crate::Parameters) -> Result<Self, $crate::Refusal> {
                    $(
                        let $parameter = <$parameter_kind as Parameter>::of(parameters, stringify!($parameter))?;
                        $(
                            if !($valid) {
                                let reason = format!("{:?} does not fulfil {}", $parameter, stringify!($valid));
                                return Err($crate::Refusal::bad_parameter(stringify!($parameter), reason));
                            }
                        )?
                        let _ = $parameter;
                    )*
                    Ok(Self { parameters: parameters.clone() })
                }

                // A function may have no columns, or no parameters.
                #[allow(unused_mut, unused_variables)]
                fn apply(&self, rows: &$crate::Rows, outputs: &mut $crate::Outputs) -> Result<(), $crate::Failure> {
                    $(
                        let $parameter = <$parameter_kind as Parameter>::of(&self.parameters, stringify!($parameter))
                            .map_err($crate::function::not_bound)?;
                    )*
                    let mut columns = Columns::of(rows);
                    $(let $as_of = columns.take::<$as_of_kind>()?;)?
                    $(let $feature = columns.take::<$feature_kind>()?;)*
                    $(let $request = columns.take::<$request_kind>()?;)*
                    let mut refused: Vec<(usize, $crate::Refuse)> = Vec::new();
                    let mut compute = |row: usize| -> Option<$answer> {
                        $(let $as_of = <$as_of_kind as Argument>::get(&$as_of, row)?;)?
                        $(let $feature = <$feature_kind as Argument>::get(&$feature, row)?;)*
                        $(let $request = <$request_kind as Argument>::get(&$request, row)?;)*
                        let answered: Result<$answer, $crate::Refuse> = $($ok)?($function($($all),*));
                        match answered {
                            Ok(answer) => Some(answer),
                            Err(refuse) => {
                                refused.push((row, refuse));
                                None
                            }
                        }
                    };
                    $crate::transform!(@write rows, outputs, compute, $($output: $output_kind),+);
                    for (row, refuse) in refused {
                        outputs.refuse(row, refuse.code, refuse.message);
                    }
                    Ok(())
                }
            }

            impl $crate::function::Computed for $answer {
                type By = Function;
            }

            $crate::export!(Function);
        };
    };

    // One output is written as it is computed; of more, all but the first wait until it is their turn in the frame.
    (@write $rows:ident, $outputs:ident, $compute:ident, $output:ident: $kind:ty) => {
        <$kind as Answer>::write($outputs, stringify!($output), |row| <$kind as Answer>::plain($compute(row)?.$output))?;
    };
    (@write $rows:ident, $outputs:ident, $compute:ident, $($output:ident: $kind:ty),+) => {
        $(let mut $output = Vec::with_capacity($rows.len());)+
        for row in 0..$rows.len() {
            match $compute(row) {
                Some(answer) => { $($output.push(<$kind as Answer>::plain(answer.$output));)+ }
                None => { $($output.push(None);)+ }
            }
        }
        $(<$kind as Answer>::write($outputs, stringify!($output), |row| $output[row].take())?;)+
    };
}

/// A parameter that `bind` found is there in `apply`.
#[doc(hidden)]
pub fn not_bound(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::BadParameter { name, reason } => Failure::Failed(format!("parameter {name}: {reason}")),
        Refusal::Other(reason) => Failure::Failed(reason),
    }
}
