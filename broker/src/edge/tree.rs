//! Values by topic filter: exact filters in a map, those with wildcards in a tree by levels.
//!
//! What is removed is forgotten: after the last removal the tree is as empty as a new one.

use std::collections::HashMap;

use syncline_protocol::Filter;

/// One value per filter.
#[derive(Debug)]
pub(crate) struct Tree<V> {
    exact: HashMap<Box<str>, V>,
    wild: Node<V>,
}

#[derive(Debug)]
struct Node<V> {
    children: HashMap<Box<str>, Node<V>>,
    /// Of the filter that ends here.
    here: Option<V>,
    /// Of the filter that goes on with `#` and ends.
    rest: Option<V>,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wild: Node::default(),
        }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            children: HashMap::new(),
            here: None,
            rest: None,
        }
    }
}

impl<V: Default> Tree<V> {
    /// The value of a filter, made if it is not there.
    pub(crate) fn entry(&mut self, filter: &Filter) -> &mut V {
        if filter.has_wildcard() {
            return self.wild.place(filter).get_or_insert_default();
        }
        self.exact.entry(filter.as_str().into()).or_default()
    }

    /// Changes the value of a filter, if it has one; it is forgotten if `change` says that it is empty.
    pub(crate) fn change(&mut self, filter: &Filter, change: impl FnOnce(&mut V) -> bool) {
        if filter.has_wildcard() {
            let levels: Vec<&str> = filter.levels().collect();
            return self.wild.change(&levels, change);
        }
        if let Some(value) = self.exact.get_mut(filter.as_str())
            && change(value)
        {
            self.exact.remove(filter.as_str());
        }
    }
}

impl<V> Tree<V> {
    /// The value of a filter.
    pub(crate) fn get(&self, filter: &Filter) -> Option<&V> {
        if !filter.has_wildcard() {
            return self.exact.get(filter.as_str());
        }
        let mut node = &self.wild;
        for level in filter.levels() {
            match level {
                "#" => return node.rest.as_ref(),
                level => node = node.children.get(level)?,
            }
        }
        node.here.as_ref()
    }

    /// Visits the values of all filters that match (TOPIC-5).
    pub(crate) fn matching(&self, topic: &str, visit: &mut impl FnMut(&V)) {
        self.exact.get(topic).into_iter().for_each(&mut *visit);
        let levels: Vec<&str> = topic.split('/').collect();
        self.wild.matching(&levels, topic.starts_with('$'), visit);
    }

    /// Whether nothing is in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

impl<V> Node<V> {
    fn place(&mut self, filter: &Filter) -> &mut Option<V> {
        let (node, rest) = filter
            .levels()
            .fold((self, false), |(node, _), level| match level {
                "#" => (node, true),
                level => (node.children.entry(level.into()).or_default(), false),
            });
        if rest { &mut node.rest } else { &mut node.here }
    }

    fn change(&mut self, levels: &[&str], change: impl FnOnce(&mut V) -> bool) {
        match levels {
            [] => forget_if(&mut self.here, change),
            ["#"] => forget_if(&mut self.rest, change),
            [level, after @ ..] => {
                let Some(child) = self.children.get_mut(*level) else {
                    return;
                };
                child.change(after, change);
                if child.is_empty() {
                    self.children.remove(*level);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_none() && self.rest.is_none()
    }

    /// `hidden`: the topic begins with `$`, so wildcards do not match its first level.
    fn matching(&self, levels: &[&str], hidden: bool, visit: &mut impl FnMut(&V)) {
        if !hidden {
            self.rest.iter().for_each(&mut *visit);
        }
        let [level, after @ ..] = levels else {
            return self.here.iter().for_each(visit);
        };
        if let Some(child) = self.children.get(*level) {
            child.matching(after, false, visit);
        }
        if let (false, Some(child)) = (hidden, self.children.get("+")) {
            child.matching(after, false, visit);
        }
    }
}

fn forget_if<V>(place: &mut Option<V>, change: impl FnOnce(&mut V) -> bool) {
    if place.as_mut().is_some_and(change) {
        *place = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "ü", "$SYS"])
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

    fn found(tree: &Tree<Vec<usize>>, topic: &str) -> Vec<usize> {
        let mut found = Vec::new();
        tree.matching(topic, &mut |of| found.extend_from_slice(of));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn topic_5_the_tree_finds_what_the_filters_match(
            filters in prop::collection::vec(filter(), 0..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            topics in prop::collection::vec(topic(), 1..8),
        ) {
            let mut tree: Tree<Vec<usize>> = Tree::default();
            for (at, filter) in filters.iter().enumerate() {
                tree.entry(filter).push(at);
            }
            let mut remove = |at: usize| tree.change(&filters[at], |of| {
                of.retain(|it| *it != at);
                of.is_empty()
            });
            let (gone, kept): (Vec<usize>, Vec<usize>) =
                (0..filters.len()).partition(|at| removed[*at]);
            gone.iter().for_each(|at| remove(*at));
            for topic in &topics {
                let matches = |at: &usize| filters[*at].matches_text(topic);
                let expected: Vec<_> = kept.iter().copied().filter(matches).collect();
                prop_assert_eq!(found(&tree, topic), expected, "{}", topic);
            }
            kept.iter().for_each(|at| tree.change(&filters[*at], |of| {
                of.retain(|it| it != at);
                of.is_empty()
            }));
            prop_assert!(tree.is_empty());
        }
    }
}
