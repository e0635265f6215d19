//! Which connections subscribe to what.

use syncline_protocol::Filter;

use super::tree::Tree;

/// Names a connection in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(super) u64);

/// The index. A peer has a filter once or not.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tree: Tree<Vec<PeerId>>,
}

impl Index {
    /// Adds a filter of a peer; whether it is new.
    pub(crate) fn insert(&mut self, filter: &Filter, peer: PeerId) -> bool {
        let peers = self.tree.entry(filter);
        let new = !peers.contains(&peer);
        if new {
            peers.push(peer);
        }
        new
    }

    /// Removes a filter of a peer.
    pub(crate) fn remove(&mut self, filter: &Filter, peer: PeerId) {
        self.tree.change(filter, |peers| {
            peers.retain(|it| *it != peer);
            peers.is_empty()
        });
    }

    /// Visits the peers with a filter that matches (TOPIC-5), each once per such filter.
    pub(crate) fn matching(&self, topic: &str, visit: &mut impl FnMut(PeerId)) {
        let visit_all = &mut |peers: &Vec<PeerId>| peers.iter().for_each(|peer| visit(*peer));
        self.tree.matching(topic, visit_all);
    }

    /// Whether nothing is in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
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
