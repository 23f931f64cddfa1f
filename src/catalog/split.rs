//! A service that answers a part of its callers with another service, to see what that does before everybody gets it.

use super::Digest;

/// How the callers of a service are divided. Which part a value is in depends on the service's name and the value alone:
/// it is the same in every process and after every start, and a larger share takes new values in and loses none.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The join key or request field whose value decides.
    pub by: String,
    /// The service that answers the part.
    pub other: String,
    /// Of the values, how many are in the part; above 0 and below 1.
    pub share: f64,
}

impl Split {
    /// Whether callers of `service` with this value, as text, are answered with the other one.
    pub fn takes(&self, service: &str, value: &str) -> bool {
        let Digest(hash) = Digest::of([service.as_bytes(), b"\0", value.as_bytes()].concat().as_slice());
        let first = hash[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (first as f64) < self.share * (u64::MAX as f64)
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} % by {} to {}", self.share * 100.0, self.by, self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(share: f64, service: &str) -> Vec<usize> {
        let split = Split { by: "user".to_owned(), other: "b".to_owned(), share };
        (0..10_000).filter(|user| split.takes(service, &user.to_string())).collect()
    }

    #[test]
    fn a_share_of_the_values_is_taken_and_a_larger_one_keeps_them() {
        let (tenth, third) = (taken(0.1, "a"), taken(0.3, "a"));
        assert!((900..1_100).contains(&tenth.len()), "{}", tenth.len());
        assert!((2_800..3_200).contains(&third.len()), "{}", third.len());
        assert!(tenth.iter().all(|user| third.contains(user)));
    }

    #[test]
    fn two_services_divide_the_same_values_differently() {
        let (one, other) = (taken(0.1, "a"), taken(0.1, "b"));
        let both = one.iter().filter(|user| other.contains(user)).count();
        assert!((50..200).contains(&both), "{both}");
    }
}
