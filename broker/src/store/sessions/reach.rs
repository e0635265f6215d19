//! How far somebody is who goes through all streams in their order, again and again.

use syncline_protocol::StreamId;

/// Up to which position everything is there, stream by stream: a function of few steps over the order of the streams.
///
/// Who goes through all streams from position P and is interrupted after stream S has everything of the streams up to S,
/// and of the later ones what lies up to P.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The first counts from the beginning (`None`), every other one for the streams after its own; ascending.
    steps: Vec<(Option<StreamId>, u64)>,
}

impl Reach {
    /// More steps are joined, at the lower position: something may come twice, nothing is missed.
    pub const STEPS_MAX: usize = 8;

    /// The same position everywhere.
    pub fn all(position: u64) -> Reach {
        Reach {
            steps: vec![(None, position)],
        }
    }

    /// The position for a stream.
    pub fn of(&self, stream: &StreamId) -> u64 {
        let holds = |after: &Option<StreamId>| after.as_ref().is_none_or(|after| after < stream);
        let step = self.steps.iter().rev().find(|(after, _)| holds(after));
        step.map_or(0, |(_, position)| *position)
    }

    /// The lowest position anywhere.
    pub fn lowest(&self) -> u64 {
        self.steps.iter().map(|(_, it)| *it).min().unwrap_or(0)
    }

    /// This reach once the streams up to and with `through` are at `position`.
    #[must_use]
    pub fn passed(&self, through: &StreamId, position: u64) -> Reach {
        let mut steps = vec![(None, position)];
        let next = through.clone();
        let beyond = self
            .steps
            .iter()
            .filter(|(after, _)| after.as_ref().is_some_and(|after| after > through));
        let at_next = self
            .steps
            .iter()
            .rev()
            .find(|(after, _)| after.as_ref().is_none_or(|after| after <= through));
        steps.extend(at_next.map(|(_, position)| (Some(next), *position)));
        steps.extend(beyond.cloned());
        let mut reach = Reach { steps };
        reach.join();
        reach
    }

    /// The steps: after which stream, up to which position.
    pub(crate) fn steps(&self) -> &[(Option<StreamId>, u64)] {
        &self.steps
    }

    /// From steps as [`Reach::steps`] gives them; `None` if they are not such.
    pub(crate) fn from_steps(steps: Vec<(Option<StreamId>, u64)>) -> Option<Reach> {
        let begins = steps.first().is_some_and(|(after, _)| after.is_none());
        let ascends = steps.is_sorted_by(|a, b| a.0 < b.0);
        (begins && ascends).then_some(Reach { steps })
    }

    fn join(&mut self) {
        self.steps.dedup_by(|later, earlier| later.1 == earlier.1);
        while self.steps.len() > Reach::STEPS_MAX
            && let Some((_, last)) = self.steps.pop()
            && let Some((_, before)) = self.steps.last_mut()
        {
            *before = last.min(*before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stream;

    #[test]
    fn an_interrupted_scan_keeps_what_it_passed() {
        let reach = Reach::all(5).passed(&stream("m"), 90);
        let of = |reach: &Reach, name: &str| reach.of(&stream(name));
        assert_eq!(
            (of(&reach, "a"), of(&reach, "m"), of(&reach, "n")),
            (90, 90, 5)
        );
        let again = reach.passed(&stream("c"), 100);
        let got = ["a", "c", "d", "m", "n"].map(|name| of(&again, name));
        assert_eq!(got, [100, 100, 90, 90, 5]);
        let beyond = again.passed(&stream("p"), 120);
        assert_eq!(
            ["a", "m", "p", "q"].map(|name| of(&beyond, name)),
            [120, 120, 120, 5]
        );
        assert_eq!((beyond.lowest(), Reach::all(3).lowest()), (5, 3));
        assert_eq!(Reach::from_steps(again.steps().to_vec()), Some(again));
        assert_eq!(Reach::from_steps(Vec::new()), None);
    }

    #[test]
    fn its_steps_are_bounded_and_never_promise_more() {
        let names: Vec<_> = ('a'..='z').map(|name| stream(&name.to_string())).collect();
        let mut reach = Reach::all(1);
        let mut exact = vec![1; names.len()];
        for (at, through) in names.iter().enumerate().rev() {
            let position = 100 - at as u64;
            reach = reach.passed(through, position);
            exact[..=at].fill(position);
            assert!(reach.steps().len() <= Reach::STEPS_MAX);
            for (stream, exact) in names.iter().zip(&exact) {
                assert!(reach.of(stream) <= *exact);
            }
        }
    }
}
