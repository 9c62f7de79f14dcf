//! Arithmetic on compile-time values. Whole numbers stay whole: an overflow is an error, and a division that leaves a
//! remainder gives a fraction.

use std::rc::Rc;

use super::limits;
use super::value::Value;

/// The value of `left op right`, `None` where `op` does not apply to such values.
///
/// # Errors
/// In words for the user: overflow, division by zero, a list too long.
pub fn binary(op: &str, left: &Value, right: &Value) -> Option<Result<Value, String>> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => truth(op, *a, *b).map(Ok),
        (Value::Int(a), Value::Int(b)) => whole(op, *a, *b),
        (Value::Str(a) | Value::Word(a), Value::Str(b) | Value::Word(b)) => equality(op, a == b).map(Ok),
        (Value::List(list), Value::Int(times)) | (Value::Int(times), Value::List(list)) if op == "*" => {
            Some(repeat(list, *times))
        }
        (Value::List(a), Value::List(b)) if op == "+" => Some(
            checked_list(a.len() + b.len())
                .map(|()| a.iter().chain(b.iter()).cloned().collect::<Rc<[Value]>>())
                .map(Value::List),
        ),
        _ => fraction(op, left.number()?, right.number()?),
    }
}

fn equality(op: &str, equal: bool) -> Option<Value> {
    match op {
        "==" => Some(Value::Bool(equal)),
        "!=" => Some(Value::Bool(!equal)),
        _ => None,
    }
}

fn truth(op: &str, a: bool, b: bool) -> Option<Value> {
    match op {
        "and" => Some(Value::Bool(a && b)),
        "or" => Some(Value::Bool(a || b)),
        _ => equality(op, a == b),
    }
}

fn comparison(op: &str, order: Option<std::cmp::Ordering>) -> Option<Value> {
    Some(Value::Bool(match op {
        "<" => order.is_some_and(|order| order.is_lt()),
        "<=" => order.is_some_and(|order| order.is_le()),
        ">" => order.is_some_and(|order| order.is_gt()),
        ">=" => order.is_some_and(|order| order.is_ge()),
        "==" => order.is_some_and(|order| order.is_eq()),
        "!=" => !order.is_some_and(|order| order.is_eq()),
        _ => return None,
    }))
}

fn whole(op: &str, a: i64, b: i64) -> Option<Result<Value, String>> {
    let result = match op {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" if b == 0 => return Some(Err(format!("{a} divided by zero"))),
        "/" if a.checked_rem(b).is_none_or(|rest| rest == 0) => a.checked_div(b),
        "/" => return fraction(op, a as f64, b as f64),
        "^" if b < 0 => return fraction(op, a as f64, b as f64),
        "^" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ => return comparison(op, Some(a.cmp(&b))).map(Ok),
    };
    Some(result.map(Value::Int).ok_or_else(|| format!("{a} {op} {b} is too large a whole number")))
}

fn fraction(op: &str, a: f64, b: f64) -> Option<Result<Value, String>> {
    let result = match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b == 0.0 => return Some(Err(format!("{a} divided by zero"))),
        "/" => a / b,
        "^" => a.powf(b),
        _ => return comparison(op, a.partial_cmp(&b)).map(Ok),
    };
    Some(if result.is_finite() {
        Ok(Value::Float(result))
    } else {
        Err(format!("{a} {op} {b} is not a finite number"))
    })
}

fn checked_list(length: usize) -> Result<(), String> {
    if length > limits::LIST {
        return Err(format!("a list of {length} entries, at most {} are allowed", limits::LIST));
    }
    Ok(())
}

fn repeat(list: &[Value], times: i64) -> Result<Value, String> {
    let times = usize::try_from(times).map_err(|_| format!("a list cannot be repeated {times} times"))?;
    checked_list(list.len().saturating_mul(times))?;
    let entries = std::iter::repeat_n(list, times).flatten().cloned().collect::<Rc<[Value]>>();
    Ok(Value::List(entries))
}

/// `-a` and `not a`.
pub fn unary(op: &str, arg: &Value) -> Option<Result<Value, String>> {
    match (op, arg) {
        ("-", Value::Int(value)) => Some(
            value
                .checked_neg()
                .map(Value::Int)
                .ok_or_else(|| format!("-({value}) is too large a whole number")),
        ),
        ("-", Value::Float(value)) => Some(Ok(Value::Float(-value))),
        ("not", Value::Bool(value)) => Some(Ok(Value::Bool(!value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(op: &str, a: i64, b: i64) -> Result<Value, String> {
        binary(op, &Value::Int(a), &Value::Int(b)).expect("defined for whole numbers")
    }

    #[test]
    fn whole_numbers_stay_whole_or_become_fractions() {
        assert!(matches!(int("/", 6, 3), Ok(Value::Int(2))));
        assert!(matches!(int("/", 1, 2), Ok(Value::Float(half)) if half == 0.5));
        assert!(matches!(int("^", 2, 10), Ok(Value::Int(1024))));
    }

    #[test]
    fn overflow_and_division_by_zero_are_errors() {
        assert!(int("*", i64::MAX, 2).is_err());
        assert!(int("/", 1, 0).is_err());
        assert!(int("/", i64::MIN, -1).is_err());
        assert!(int("^", 10, 400).is_err());
        assert!(unary("-", &Value::Int(i64::MIN)).expect("defined").is_err());
    }

    #[test]
    fn lists_repeat_within_bounds() {
        let list = Value::List(Rc::from([Value::Int(16)]));
        assert!(matches!(binary("*", &list, &Value::Int(3)), Some(Ok(Value::List(l))) if l.len() == 3));
        assert!(matches!(binary("*", &list, &Value::Int(1 << 40)), Some(Err(_))));
    }
}
