//! Who gets a copy of a message, and in which form. Pure.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::follow::Follow;
use crate::edge::tree::Tree;
use crate::store::sessions::StoredSubscription;

/// Names a session that follows ordinary topics, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriberId(pub(super) u64);

/// How somebody follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// 0, 1 or 2 at most.
    pub(crate) qos: u8,
    /// Not what it publishes itself.
    pub(crate) no_local: bool,
    /// The RETAIN flag is passed on.
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<u32>,
}

impl Terms {
    /// As the store kept them.
    pub(crate) fn of(stored: &StoredSubscription) -> Self {
        Self {
            qos: stored.qos,
            no_local: stored.no_local,
            retain_as_published: stored.retain_as_published,
            identifier: stored.identifier,
        }
    }
}

/// One copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) to: SubscriberId,
    /// The lower of both.
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) identifiers: Vec<u32>,
    /// It goes to one member of this group.
    pub(crate) share: Option<Arc<Follow>>,
}

/// How a message was published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    pub(crate) topic: &'a str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) from: Option<SubscriberId>,
}

/// How willing a member of a group is: the least of these takes a message, `Never` none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Willing {
    AtOnce,
    Slowly,
    Later,
    Never,
}

/// Everybody's subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    tree: Tree<Entry>,
    count: usize,
}

#[derive(Debug, Default)]
struct Entry {
    plain: BTreeMap<SubscriberId, Terms>,
    groups: BTreeMap<Box<str>, Group>,
}

#[derive(Debug)]
struct Group {
    follow: Arc<Follow>,
    members: BTreeMap<SubscriberId, Terms>,
    /// Whose turn it was.
    last: Cell<Option<SubscriberId>>,
}

impl Followers {
    /// Somebody follows something, in place of what it was on other terms.
    pub(crate) fn add(&mut self, follow: &Follow, who: SubscriberId, terms: Terms) {
        let entry = self.tree.entry(&follow.filter);
        let members = match &follow.group {
            None => &mut entry.plain,
            Some(group) => {
                let group = entry.groups.entry(group.clone());
                &mut group.or_insert_with(|| Group::new(follow)).members
            }
        };
        let new = members.insert(who, terms).is_none();
        self.count += usize::from(new);
    }

    /// Somebody does not follow it any more.
    pub(crate) fn remove(&mut self, follow: &Follow, who: SubscriberId) {
        let mut gone = false;
        self.tree.change(&follow.filter, |entry| {
            gone = entry.remove(follow.group.as_deref(), who);
            entry.plain.is_empty() && entry.groups.is_empty()
        });
        self.count -= usize::from(gone);
    }

    /// How many subscriptions there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The copies of a message: one per subscriber, whatever overlaps, and one per group. `willing` tells it of members
    /// of groups.
    pub(crate) fn copies(
        &self,
        published: &Published<'_>,
        willing: impl Fn(SubscriberId) -> Willing,
    ) -> Vec<Copy> {
        let (mut plain, mut shared) = (Vec::new(), Vec::new());
        let mut overlaps = false;
        self.tree.matching(published.topic, &mut |entry: &Entry| {
            overlaps |= !plain.is_empty();
            let others = entry
                .plain
                .iter()
                .filter(|(who, terms)| !(terms.no_local && published.from == Some(**who)));
            plain.extend(others.map(|(who, terms)| Copy::of(*who, terms, published)));
            let groups = entry.groups.values();
            shared.extend(groups.filter_map(|group| group.copy(published, &willing)));
        });
        if overlaps {
            plain.sort_by_key(|copy| copy.to);
            plain.dedup_by(|more, copy| copy.takes_in(more));
        }
        plain.append(&mut shared);
        plain
    }

    /// A copy for another member of a group, in place of one that did not take it.
    pub(crate) fn copy_in(
        &self,
        share: &Follow,
        published: &Published<'_>,
        willing: impl Fn(SubscriberId) -> Willing,
    ) -> Option<Copy> {
        let groups = &self.tree.get(&share.filter)?.groups;
        let group = groups.get(share.group.as_deref()?)?;
        group.copy(published, willing)
    }
}

impl Entry {
    /// Whether it was there.
    fn remove(&mut self, group: Option<&str>, who: SubscriberId) -> bool {
        let Some(name) = group else {
            return self.plain.remove(&who).is_some();
        };
        let Some(group) = self.groups.get_mut(name) else {
            return false;
        };
        let was = group.members.remove(&who).is_some();
        if group.members.is_empty() {
            self.groups.remove(name);
        }
        was
    }
}

impl Group {
    fn new(follow: &Follow) -> Self {
        Self {
            follow: Arc::new(follow.clone()),
            members: BTreeMap::new(),
            last: Cell::new(None),
        }
    }

    fn copy(
        &self,
        published: &Published<'_>,
        willing: impl Fn(SubscriberId) -> Willing,
    ) -> Option<Copy> {
        let last = self.last.get();
        let (before, after): (Vec<_>, Vec<_>) = self
            .members
            .iter()
            .partition(|(who, _)| Some(**who) <= last);
        let in_turn = after.into_iter().chain(before);
        let (who, terms) = in_turn.min_by_key(|(who, _)| willing(**who))?;
        if willing(*who) == Willing::Never {
            return None;
        }
        self.last.set(Some(*who));
        let copy = Copy::of(*who, terms, published);
        let share = Some(Arc::clone(&self.follow));
        Some(Copy { share, ..copy })
    }
}

impl Copy {
    fn of(to: SubscriberId, terms: &Terms, published: &Published<'_>) -> Self {
        Self {
            to,
            qos: terms.qos.min(published.qos),
            retain: terms.retain_as_published && published.retain,
            identifiers: terms.identifier.into_iter().collect(),
            share: None,
        }
    }

    /// Whether the other one is for the same subscriber, and so part of this one.
    fn takes_in(&mut self, other: &mut Self) -> bool {
        let same = self.to == other.to;
        if same {
            self.qos = self.qos.max(other.qos);
            self.retain |= other.retain;
            self.identifiers.append(&mut other.identifiers);
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        qos: 1,
        no_local: false,
        retain_as_published: false,
        identifier: None,
    };

    fn follow(text: &str) -> Follow {
        Follow::of(&text.parse().unwrap()).unwrap()
    }

    fn who(n: u64) -> SubscriberId {
        SubscriberId(n)
    }

    fn published(topic: &str, qos: u8) -> Published<'_> {
        Published {
            topic,
            qos,
            retain: true,
            from: Some(who(1)),
        }
    }

    fn told(followers: &Followers, topic: &str) -> Vec<u64> {
        let copies = followers.copies(&published(topic, 2), |_| Willing::AtOnce);
        copies.into_iter().map(|copy| copy.to.0).collect()
    }

    #[test]
    fn overlapping_subscriptions_get_one_copy_with_all_identifiers_at_the_highest_qos() {
        let mut followers = Followers::default();
        let terms = |qos, identifier| Terms {
            qos,
            identifier: Some(identifier),
            ..TERMS
        };
        followers.add(&follow("a/#"), who(2), terms(2, 7));
        followers.add(&follow("a/b"), who(2), terms(0, 8));
        for (qos, delivered) in [(0, 0), (1, 1), (2, 2)] {
            let copies = followers.copies(&published("a/b", qos), |_| Willing::AtOnce);
            let [copy] = &copies[..] else {
                panic!("{copies:?}");
            };
            assert_eq!((copy.to, copy.qos, copy.retain), (who(2), delivered, false));
            let mut identifiers = copy.identifiers.clone();
            identifiers.sort_unstable();
            assert_eq!(identifiers, [7, 8]);
        }
    }

    #[test]
    fn no_local_hides_ones_own_messages_and_retain_as_published_keeps_the_flag() {
        let mut followers = Followers::default();
        let no_local = Terms {
            no_local: true,
            ..TERMS
        };
        let kept = Terms {
            retain_as_published: true,
            ..TERMS
        };
        followers.add(&follow("a"), who(1), no_local);
        followers.add(&follow("a"), who(2), kept);
        let copies = followers.copies(&published("a", 1), |_| Willing::AtOnce);
        assert_eq!(copies.len(), 1);
        assert_eq!((copies[0].to, copies[0].retain), (who(2), true));
        followers.add(&follow("+"), who(1), TERMS);
        assert_eq!(
            told(&followers, "a"),
            [1, 2],
            "another filter of its own matches"
        );
    }

    #[test]
    fn a_group_takes_turns_and_prefers_who_is_there() {
        let mut followers = Followers::default();
        let shared = follow("$share/g/a/#");
        (1..=3).for_each(|n| followers.add(&shared, who(n), TERMS));
        let turns: Vec<_> = (0..4).flat_map(|_| told(&followers, "a/b")).collect();
        assert_eq!(turns, [1, 2, 3, 1]);
        let willing = |it: SubscriberId| match it.0 {
            1 => Willing::Later,
            2 => Willing::Slowly,
            _ => Willing::Never,
        };
        let copies = followers.copies(&published("a", 1), willing);
        assert_eq!(copies[0].to, who(2));
        let nobody = followers.copies(&published("a", 1), |_| Willing::Never);
        assert_eq!(nobody, []);
    }

    #[test]
    fn what_is_not_followed_any_more_is_forgotten() {
        let mut followers = Followers::default();
        for text in ["a/b", "a/#", "$share/g/a/b", "$share/h/a/b"] {
            followers.add(&follow(text), who(1), TERMS);
            followers.add(&follow(text), who(1), TERMS);
        }
        assert_eq!(followers.count(), 4);
        assert_eq!(told(&followers, "a/b"), [1, 1, 1]);
        for text in ["a/b", "a/#", "$share/g/a/b", "$share/h/a/b", "x"] {
            followers.remove(&follow(text), who(1));
        }
        assert_eq!(followers.count(), 0);
        assert!(followers.tree.is_empty());
    }
}
