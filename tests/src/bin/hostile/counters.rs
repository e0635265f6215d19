//! What the broker counts, as it tells under `$SYS/`.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use syncline_tests::broker::Broker;
use syncline_tests::wire::{Connect, Version, Wire};

const BELOW: &str = "$SYS/broker/";
/// Longer than the time between two tellings.
const TELLING: Duration = Duration::from_millis(1_500);
/// What goes up by itself.
const TRAFFIC: [&str; 9] = [
    "load/",
    "bytes/",
    "messages/",
    "publish/messages/received",
    "publish/messages/sent",
    "uptime",
    "clients/",
    "store/",
    "subscriptions/",
];

pub(crate) type Counters = BTreeMap<String, u64>;

/// Every figure that is a whole number, told after this was asked.
pub(crate) fn read(broker: &Broker) -> io::Result<Counters> {
    let mut wire = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "counting"))?;
    wire.subscribe(&format!("{BELOW}#"))?;
    let mut told = Counters::new();
    let begin = Instant::now();
    while begin.elapsed() < TELLING {
        let message = wire.message()?;
        let number = std::str::from_utf8(&message.payload).ok();
        let topic = message.topic.strip_prefix(BELOW);
        if let (Some(topic), Some(number)) = (topic, number.and_then(|it| it.parse().ok())) {
            told.insert(topic.to_owned(), number);
        }
    }
    Ok(told)
}

/// What was counted more often, traffic left out.
pub(crate) fn grown(before: &Counters, after: &Counters) -> Vec<(String, u64)> {
    let is_traffic = |name: &str| TRAFFIC.iter().any(|it| name.starts_with(it));
    let more = after.iter().filter_map(|(name, now)| {
        let more = now.saturating_sub(before.get(name).copied().unwrap_or(0));
        (more > 0 && !is_traffic(name)).then(|| (name.clone(), more))
    });
    more.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_told_and_traffic_is_not() {
        let counters = |dropped, received| {
            Counters::from([
                ("publish/messages/dropped/slow".to_owned(), dropped),
                ("publish/messages/received".to_owned(), received),
            ])
        };
        let grown = grown(&counters(3, 10), &counters(5, 90));
        assert_eq!(grown, [("publish/messages/dropped/slow".to_owned(), 2)]);
    }
}
