//! The grant against a model that tries every rule at every topic.

use proptest::prelude::*;
use syncline_protocol::{DeviceId, Filter, StreamId};

use super::*;

const NAMES: [&str; 5] = ["a", "b", "ana", "k1", "a/b"];

/// A rule as text says it: who may do what where.
#[derive(Debug, Clone)]
enum Rule {
    Group(String, Access),
    Topic(String, Access),
}

/// Level by level, without parsing anything first.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        ([level, filter @ ..], [name, topic @ ..]) => {
            (level == name || *level == "+") && matches(filter, topic)
        }
        _ => false,
    }
}

fn name<'a>(level: &'a str, user: &'a str, client_id: &'a str) -> &'a str {
    match level {
        "%u" => user,
        "%c" => client_id,
        other => other,
    }
}

fn is_sound(level: &str) -> bool {
    !level.is_empty() && !level.contains('/')
}

/// What the rules allow, asked naively.
fn model(rules: &[Rule], (user, client_id): (&str, &str), topic: &str, write: bool) -> bool {
    let allows = |access: Access| {
        if write {
            access.writes()
        } else {
            access.reads()
        }
    };
    let levels: Vec<&str> = topic.split('/').collect();
    rules.iter().any(|rule| match rule {
        Rule::Group(group, access) if levels[0] == "sync" => {
            let group = name(group, user, client_id);
            allows(*access) && (group == "*" || is_sound(group) && levels.get(1) == Some(&group))
        }
        Rule::Topic(filter, access) if levels[0] != "sync" => {
            let filter: Vec<_> = filter.split('/').collect();
            let filter: Vec<_> = filter.iter().map(|it| name(it, user, client_id)).collect();
            let hidden = levels[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
            let sound = filter.iter().all(|level| is_sound(level));
            allows(*access) && sound && !hidden && matches(&filter, &levels)
        }
        _ => false,
    })
}

fn access(n: u8) -> Access {
    [Access::Read, Access::Write, Access::ReadWrite][usize::from(n) % 3]
}

fn rule() -> impl Strategy<Value = Rule> {
    let group = prop::sample::select(vec!["a", "b", "ana", "k1", "*", "%u"]);
    let level = prop::sample::select(vec!["a", "b", "ana", "+", "%u", "%c", "$SYS"]);
    let levels = (prop::collection::vec(level, 1..4), any::<bool>());
    prop_oneof![
        (group, any::<bool>()).prop_map(|(group, writes)| {
            let access = if writes {
                Access::ReadWrite
            } else {
                Access::Read
            };
            Rule::Group(group.to_owned(), access)
        }),
        (levels, any::<u8>()).prop_map(|((mut levels, rest), n)| {
            levels.extend(rest.then_some("#"));
            Rule::Topic(levels.join("/"), access(n))
        }),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "ana", "k1", "sync", "$SYS", "events"]);
    prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/"))
}

fn rights(rules: &[Rule]) -> Rights {
    let text = |access: Access| match access {
        Access::Read => "r",
        Access::Write => "w",
        Access::ReadWrite => "rw",
    };
    // One section per rule, put together, so that this is tested too.
    let sections = rules.iter().map(|rule| {
        let section = match rule {
            Rule::Group(group, it) => format!("groups = {{ \"{group}\" = \"{}\" }}", text(*it)),
            Rule::Topic(filter, it) => format!("topics = [\"{} {filter}\"]", text(*it)),
        };
        Policy::parse(&format!("[everyone]\n{section}"))
            .unwrap()
            .rights("x")
    });
    sections.fold(Rights::default(), |all, one| all.and(&one))
}

proptest! {
    #[test]
    fn g9_the_grant_is_what_the_rules_say(
        rules in prop::collection::vec(rule(), 0..6),
        topics in prop::collection::vec(topic(), 1..12),
        (user, client_id) in (0..NAMES.len(), 0..NAMES.len()),
    ) {
        let (user, client_id) = (NAMES[user], NAMES[client_id]);
        let device = DeviceId::from_bytes([7; 16]);
        let grant = rights(&rules).grant(Connected { user, client_id, device });
        for topic in topics {
            let reads = model(&rules, (user, client_id), &topic, false);
            prop_assert_eq!(grant.may_read(&topic), reads, "read {}", &topic);
            let filter: Filter = topic.parse().unwrap();
            prop_assert_eq!(grant.may_subscribe(&filter), reads, "subscribe {}", &topic);
            let writes = model(&rules, (user, client_id), &topic, true);
            match topic.strip_prefix("sync/").and_then(|rest| rest.split('/').next()) {
                Some(group) => {
                    let Ok(sync_id) = group.parse() else { continue };
                    let stream = StreamId { sync_id, channel: None };
                    prop_assert_eq!(grant.writes(&stream), writes, "write {}", &topic);
                    prop_assert_eq!(grant.reads(&stream), reads, "read {}", &topic);
                }
                None => prop_assert_eq!(grant.writes_topic(&topic), writes && topic != "sync", "write {}", &topic),
            }
        }
    }
}
