//! Many conditions on few aggregates, over windows of several lengths: what the engine keeps thresholds for, so that it
//! evaluates none of them in vain.

use segue::definition::ast::{Aggregate, Expr, ExprKind, Function, Literal, Operand, Window};

use super::{Generator, Place, Ty, bare, number};
use crate::definitions::{Group, Segment, Set};
use crate::vocabulary::{NUMBERS, PURPOSES};

/// An aggregate that many conditions are on, and the type of its value.
type Crowded = (Aggregate, Ty);

impl Generator<'_> {
    pub(super) fn crowd(&mut self, set: &mut Set) {
        let crowded: Vec<Crowded> = (0..self.random.between(1, 2)).map(|_| self.crowded()).collect();
        for index in 0..self.random.between(5, 12) {
            let purpose = self.random.percent(10).then(|| self.random.word(&PURPOSES).to_owned());
            if self.random.percent(12) {
                let tiers: Vec<(String, Expr)> =
                    (0..3).map(|tier| (format!("x{tier}"), self.crowd_condition(&crowded, 1))).collect();
                let name = format!("h{index}");
                self.segments.extend(tiers.iter().map(|(tier, _)| format!("{name}.{tier}")));
                set.groups.push(Group { name, purpose, tiers, carry: vec![] });
            } else {
                let when = self.crowd_condition(&crowded, 2);
                let until = self.random.percent(15).then(|| self.crowd_condition(&crowded, 1));
                let name = format!("c{index}");
                set.segments.push(Segment { name: name.clone(), when, until, purpose, carry: vec![] });
                self.segments.push(name);
            }
        }
    }

    fn crowded(&mut self) -> Crowded {
        use Function::{Avg, Count, Distinct, First, Last, Max, Min, Sum};
        let (written, ty) = match self.random.below(9) {
            0..=2 => (None, Ty::Number),
            3..=5 => (Some(self.values(&[Sum], Ty::Number)), Ty::Number),
            6 => (Some(self.values(&[Min, Max, First, Last], Ty::Number)), Ty::Number),
            7 => (Some(self.values(&[Avg], Ty::Ratio)), Ty::Ratio),
            _ if self.random.percent(50) => (Some(self.values(&[Distinct], Ty::Text)), Ty::Number),
            _ => (Some(self.values(&[Min, Max, First, Last], Ty::Instant)), Ty::Instant),
        };
        if let Some(ExprKind::Aggregate(aggregate)) = written {
            return (*aggregate, ty);
        }
        let depth = usize::from(self.random.percent(30));
        let (pattern, _) = self.pattern(depth);
        (Aggregate { function: bare(Count), over: Operand::Pattern(pattern), window: Window::Ever }, Ty::Number)
    }

    fn crowd_condition(&mut self, crowded: &[Crowded], depth: usize) -> Expr {
        if depth > 0 && self.random.percent(40) {
            let parts: Vec<Expr> = (0..2).map(|_| self.crowd_condition(crowded, 0)).collect();
            return bare(match self.random.below(5) {
                0 | 1 => ExprKind::And(parts),
                2 | 3 => ExprKind::Or(parts),
                _ => ExprKind::Not(Box::new(self.crowd_condition(crowded, 0))),
            });
        }
        if depth > 0 && self.random.percent(8) {
            return self.condition(&Place::Customer, 1);
        }
        let (aggregate, ty) = self.random.pick(crowded).clone();
        let window = match self.random.below(10) {
            0..=6 => Window::Over(bare(self.duration_ms())),
            7 => Window::Ever,
            _ => self.window(),
        };
        let value = Box::new(bare(ExprKind::Aggregate(Box::new(Aggregate { window, ..aggregate }))));
        let negated = self.random.percent(30);
        bare(match self.random.below(12) {
            0 => ExprKind::IsKnown { negated, operand: value },
            1 => {
                let items = (0..2).map(|_| bare(self.crowd_literal(ty))).collect();
                ExprKind::In { negated, value, items }
            }
            2 | 3 => {
                let (low, high) = (self.crowd_constant(ty), self.crowd_constant(ty));
                ExprKind::Between { negated, value, low: Box::new(low), high: Box::new(high) }
            }
            4 => ExprKind::Compare { op: self.compare_op(), left: Box::new(self.crowd_constant(ty)), right: value },
            _ => ExprKind::Compare { op: self.compare_op(), left: value, right: Box::new(self.crowd_constant(ty)) },
        })
    }

    fn crowd_constant(&mut self, ty: Ty) -> Expr {
        bare(ExprKind::Literal(self.crowd_literal(ty)))
    }

    fn crowd_literal(&mut self, ty: Ty) -> Literal {
        match ty {
            Ty::Instant => Literal::Instant(self.instant_literal()),
            _ => match number(self.random.word(&NUMBERS)) {
                ExprKind::Literal(literal) => literal,
                _ => Literal::Bool(false),
            },
        }
    }
}
