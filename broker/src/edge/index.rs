//! Who subscribes to what: exact filters in a map, those with wildcards in a tree by levels.
//!
//! What is removed is forgotten: after the last unsubscribe the index is as empty as a new one.

use std::collections::HashMap;

use syncline_protocol::Filter;

/// Names a connection in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(super) u64);

/// The index. A peer has a filter once or not.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<Box<str>, Vec<PeerId>>,
    wild: Node,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// Filters that end here.
    here: Vec<PeerId>,
    /// Filters that go on with `#` and end.
    rest: Vec<PeerId>,
}

impl Index {
    /// Adds a filter of a peer; whether it is new.
    pub(crate) fn insert(&mut self, filter: &Filter, peer: PeerId) -> bool {
        let peers = match filter.has_wildcard() {
            true => self.wild.place(filter.as_str()),
            false => self.exact.entry(filter.as_str().into()).or_default(),
        };
        let new = !peers.contains(&peer);
        if new {
            peers.push(peer);
        }
        new
    }

    /// Removes a filter of a peer.
    pub(crate) fn remove(&mut self, filter: &Filter, peer: PeerId) {
        if filter.has_wildcard() {
            self.wild.remove(&filter.levels().collect::<Vec<_>>(), peer);
        } else if let Some(peers) = self.exact.get_mut(filter.as_str()) {
            peers.retain(|it| *it != peer);
            if peers.is_empty() {
                self.exact.remove(filter.as_str());
            }
        }
    }

    /// Visits the peers with a filter that matches (TOPIC-5), each once per such filter.
    pub(crate) fn matching(&self, topic: &str, visit: &mut impl FnMut(PeerId)) {
        self.exact
            .get(topic)
            .into_iter()
            .flatten()
            .for_each(|peer| visit(*peer));
        let levels: Vec<&str> = topic.split('/').collect();
        self.wild.matching(&levels, topic.starts_with('$'), visit);
    }

    /// Whether nothing is in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

impl Node {
    /// The list that a filter belongs to.
    fn place(&mut self, filter: &str) -> &mut Vec<PeerId> {
        let (node, rest) = filter
            .split('/')
            .fold((self, false), |(node, _), level| match level {
                "#" => (node, true),
                level => (node.children.entry(level.into()).or_default(), false),
            });
        if rest { &mut node.rest } else { &mut node.here }
    }

    fn remove(&mut self, levels: &[&str], peer: PeerId) {
        match levels {
            [] => self.here.retain(|it| *it != peer),
            ["#"] => self.rest.retain(|it| *it != peer),
            [level, after @ ..] => {
                let Some(child) = self.children.get_mut(*level) else {
                    return;
                };
                child.remove(after, peer);
                if child.is_empty() {
                    self.children.remove(*level);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.rest.is_empty()
    }

    /// `hidden`: the topic begins with `$`, so wildcards do not match its first level.
    fn matching(&self, levels: &[&str], hidden: bool, visit: &mut impl FnMut(PeerId)) {
        if !hidden {
            self.rest.iter().for_each(|peer| visit(*peer));
        }
        let [level, after @ ..] = levels else {
            return self.here.iter().for_each(|peer| visit(*peer));
        };
        if let Some(child) = self.children.get(*level) {
            child.matching(after, false, visit);
        }
        if let (false, Some(child)) = (hidden, self.children.get("+")) {
            child.matching(after, false, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["sync", "a", "b", "events", "state", "", "ü", "$SYS"])
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let level = prop_oneof![3 => level(), 2 => Just("+")];
        let levels = prop::collection::vec(level, 1..5);
        (levels, any::<bool>()).prop_filter_map("no filter", |(mut levels, rest)| {
            if rest {
                levels.push("#");
            }
            levels.join("/").parse().ok()
        })
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
    }

    fn found(index: &Index, topic: &str) -> Vec<PeerId> {
        let mut peers = Vec::new();
        index.matching(topic, &mut |peer| peers.push(peer));
        peers.sort();
        peers
    }

    proptest! {
        #[test]
        fn topic_5_the_index_finds_whom_the_filters_match(
            filters in prop::collection::vec(filter(), 0..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            topics in prop::collection::vec(topic(), 1..8),
        ) {
            let mut index = Index::default();
            let all: Vec<_> = filters.iter().enumerate().map(|(n, it)| (PeerId(n as u64), it)).collect();
            all.iter().for_each(|(peer, filter)| { index.insert(filter, *peer); });
            let (gone, kept): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(peer, _)| removed[peer.0 as usize]);
            gone.iter().for_each(|(peer, filter)| index.remove(filter, *peer));
            for topic in &topics {
                let expected: Vec<_> = kept.iter()
                    .filter(|(_, filter)| filter.matches_text(topic))
                    .map(|(peer, _)| *peer)
                    .collect();
                prop_assert_eq!(found(&index, topic), expected, "{}", topic);
            }
            kept.iter().for_each(|(peer, filter)| index.remove(filter, *peer));
            prop_assert!(index.is_empty());
        }
    }

    #[test]
    fn a_filter_is_had_once() {
        let mut index = Index::default();
        let filter: Filter = "sync/#".parse().unwrap();
        assert!(index.insert(&filter, PeerId(1)));
        assert!(!index.insert(&filter, PeerId(1)));
        assert_eq!(found(&index, "sync/a/events"), [PeerId(1)]);
        assert_eq!(found(&index, "sync"), [PeerId(1)]);
    }
}
