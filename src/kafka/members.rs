//! Who else is in a consumer group: what each member says of itself in its client id.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::groups::GroupInfo;

use super::{Clients, KafkaError};

const ANSWER: Duration = Duration::from_secs(5);
/// Stands between a client's name and the address under which it answers.
const AT: char = '@';

/// The client id of a group's member that answers at an address.
pub(super) fn client_id(name: &str, address: &str) -> String {
    if address.is_empty() { name.to_owned() } else { format!("{name}{AT}{address}") }
}

fn address_in(client_id: &str) -> Option<&str> {
    client_id.rsplit_once(AT).map(|(_, address)| address).filter(|address| address.starts_with("http"))
}

/// Looks at a consumer group from outside.
pub struct Members {
    consumer: BaseConsumer,
    group: String,
}

impl Members {
    /// Connects.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn connect(clients: &Clients, group: &str) -> Result<Self, KafkaError> {
        let consumer = clients.config(&[], &[("group.id", "segue-members")]).create();
        let consumer = consumer.map_err(|error| KafkaError::of("consumer group", &error))?;
        Ok(Self { consumer, group: group.to_owned() })
    }

    /// The addresses that members name, each once, in order.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn addresses(&self) -> Result<Vec<String>, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(&self.group), ANSWER);
        let groups = groups.map_err(|error| KafkaError::of("consumer group", &error))?;
        let group = groups.groups().iter().find(|group| group.name() == self.group);
        let members = group.map(GroupInfo::members).unwrap_or_default();
        let addresses = members.iter().filter_map(|member| address_in(member.client_id()));
        let mut addresses: Vec<String> = addresses.map(str::to_owned).collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_where_it_was_put() {
        let cases = [
            (client_id("segue", "http://10.0.0.1:8080"), Some("http://10.0.0.1:8080")),
            (client_id("a@b", "https://segue-0.example"), Some("https://segue-0.example")),
            (client_id("segue", ""), None),
            ("a@b".to_owned(), None),
        ];
        for (id, expected) in cases {
            assert_eq!(address_in(&id), expected, "{id}");
        }
    }
}
