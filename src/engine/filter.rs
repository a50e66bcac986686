//! Conditions on one event: `where category = "shoes"`.

use std::borrow::Cow;

use super::arithmetic;
use super::catalog::FieldExpr;
use super::value::Value;

impl FieldExpr {
    /// Whether the fields of an event (or element) satisfy this condition.
    #[must_use]
    pub fn holds(&self, fields: &[Value]) -> bool {
        match self {
            Self::Compare(op, left, right) => arithmetic::compare(*op, &left.value(fields), &right.value(fields)),
            Self::Between(negated, value, low, high) => {
                arithmetic::between(*negated, &value.value(fields), &low.value(fields), &high.value(fields))
            }
            Self::In(negated, value, items) => arithmetic::is_in(*negated, &value.value(fields), items),
            Self::TextTest(negated, test, left, right) => {
                arithmetic::text_test(*negated, *test, &left.value(fields), &right.value(fields))
            }
            Self::IsKnown(negated, operand) => operand.value(fields).is_known() != *negated,
            Self::Not(condition) => !condition.holds(fields),
            Self::And(conditions) => conditions.iter().all(|condition| condition.holds(fields)),
            Self::Or(conditions) => conditions.iter().any(|condition| condition.holds(fields)),
            Self::Field(_) | Self::Constant(_) | Self::Coalesce(_) | Self::Negate(_) | Self::Arithmetic(..) => {
                self.value(fields).is_true()
            }
        }
    }

    /// The value over the fields of an event; borrowed where it is a field or a literal.
    #[must_use]
    pub fn value<'a>(&'a self, fields: &'a [Value]) -> Cow<'a, Value> {
        match self {
            Self::Field(slot) => fields.get(*slot).map_or(Cow::Owned(Value::Unknown), Cow::Borrowed),
            Self::Constant(value) => Cow::Borrowed(value),
            Self::Coalesce(operands) => {
                let known = operands.iter().map(|operand| operand.value(fields)).find(|value| value.is_known());
                known.unwrap_or(Cow::Owned(Value::Unknown))
            }
            Self::Negate(operand) => Cow::Owned(arithmetic::negate(&operand.value(fields))),
            Self::Arithmetic(op, left, right) => {
                Cow::Owned(arithmetic::arithmetic(*op, &left.value(fields), &right.value(fields)))
            }
            condition => Cow::Owned(Value::Bool(condition.holds(fields))),
        }
    }
}
