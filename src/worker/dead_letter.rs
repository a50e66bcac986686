//! A refused record on its way out, and what the dead-letter topic says of it, read back.

use crate::engine::effects::Refusal;

/// Why it was refused: a name of `runtime.md` section 3.
pub const REASON: &str = "reason";
/// The topic it came from.
pub const TOPIC: &str = "topic";
/// The partition it came from.
pub const PARTITION: &str = "partition";
/// Its offset there.
pub const OFFSET: &str = "offset";
/// What was wrong, in words.
pub const ERROR: &str = "error";
/// On a record that was sent again: the partition and offset it has in the dead-letter topic.
pub const RESENT_FROM: &str = "resent-from";
/// On a record that is larger than the dead-letter topic takes, of which only the beginning is left: the bytes that its key,
/// value and headers had.
pub const CUT_FROM: &str = "cut-from";

/// The bytes of a record that are kept, less than `max.message.bytes` of the topic by what explains it.
const ROOM: usize = 3_900_000;

/// Headers that were added to those a record had.
const EXPLANATION: [&str; 5] = [REASON, TOPIC, PARTITION, OFFSET, ERROR];

/// Headers as a record has them.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A refused message, as it came.
#[derive(Debug, Clone)]
pub(super) struct DeadLetter {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

impl DeadLetter {
    /// Adds why, and where it came from, to the headers it had.
    pub(super) fn explain(&mut self, refusal: Refusal, topic: &str, partition: i32, offset: i64, error: &str) {
        self.cut();
        let values =
            [refusal.name().to_owned(), topic.to_owned(), partition.to_string(), offset.to_string(), error.to_owned()];
        let facts = EXPLANATION.into_iter().zip(values);
        self.headers.extend(facts.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    }
}

impl DeadLetter {
    /// Leaves of a record what the topic takes: one that is refused there too would be refused for ever.
    fn cut(&mut self) {
        let header_bytes = |(name, value): &(String, Option<Vec<u8>>)| name.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let n_bytes = bytes(&self.key) + bytes(&self.value) + self.headers.iter().map(header_bytes).sum::<usize>();
        if n_bytes <= ROOM {
            return;
        }
        let mut room = ROOM;
        let mut fits = |n_bytes: usize| room.checked_sub(n_bytes).map(|rest| room = rest).is_some();
        self.headers.retain(|header| fits(header_bytes(header)));
        self.key = self.key.take().filter(|key| fits(key.len()));
        if let Some(value) = &mut self.value {
            value.truncate(room);
        }
        self.headers.push((CUT_FROM.to_owned(), Some(n_bytes.to_string().into_bytes())));
    }
}

/// What the headers of a dead letter say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Why it was refused.
    pub reason: String,
    /// The topic it came from.
    pub topic: String,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// What was wrong, in words.
    pub error: String,
}

impl Explanation {
    /// Takes the explanation off the headers, which are then as they were when the record came; `None`, and headers as they
    /// are, when there is none.
    pub fn take(headers: &mut Headers) -> Option<Self> {
        // The engine's are the last of their names, whatever the record brought along.
        let places: Option<Vec<usize>> =
            EXPLANATION.iter().map(|wanted| headers.iter().rposition(|(name, _)| name == wanted)).collect();
        let mut places = places?;
        let text = |place: &usize| {
            let value = headers.get(*place).and_then(|(_, value)| value.as_deref());
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        let texts: Vec<String> = places.iter().map(text).collect();
        let [reason, topic, partition, offset, error] = <[String; 5]>::try_from(texts).ok()?;
        let explanation =
            Self { reason, topic, partition: partition.parse().ok()?, offset: offset.parse().ok()?, error };
        places.sort_unstable();
        for place in places.into_iter().rev() {
            headers.remove(place);
        }
        Some(explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_topic_does_not_take_is_cut_and_says_so() {
        let whole = DeadLetter { key: Some(vec![1; 9]), value: Some(vec![2; ROOM - 9]), headers: Headers::new() };
        let mut letter = whole.clone();
        letter.cut();
        assert_eq!((letter.key, letter.value, letter.headers), (whole.key, whole.value, whole.headers));

        let own: Headers = vec![("huge".into(), Some(vec![0; ROOM])), ("trace".into(), Some(vec![0; 95]))];
        let mut letter = DeadLetter { key: Some(vec![1; ROOM]), value: Some(vec![2; ROOM]), headers: own.clone() };
        letter.cut();
        let cut_from = (CUT_FROM.to_owned(), Some((3 * ROOM + 104).to_string().into_bytes()));
        assert_eq!(letter.headers, [own[1].clone(), cut_from]);
        assert_eq!(letter.key, None);
        assert_eq!(letter.value, Some(vec![2; ROOM - 100]));
    }

    #[test]
    fn an_explanation_comes_off_and_leaves_the_record_as_it_was() {
        let own: Headers = vec![("topic".into(), Some(b"mine".to_vec())), ("trace".into(), None)];
        let mut letter = DeadLetter { key: None, value: None, headers: own.clone() };
        letter.explain(Refusal::TooLate, "clicks", 3, 17, "too_late");
        let mut headers = letter.headers;
        let expected = Explanation {
            reason: "too_late".into(),
            topic: "clicks".into(),
            partition: 3,
            offset: 17,
            error: "too_late".into(),
        };
        assert_eq!(Explanation::take(&mut headers), Some(expected));
        assert_eq!(headers, own);
        assert_eq!(Explanation::take(&mut headers), None);
        assert_eq!(headers, own);
    }
}
