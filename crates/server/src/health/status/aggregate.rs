//! The system's status from its components: caps by criticality, quorum groups, suspended components, `caused_by`.
//!
//! Pure and independent of order. A healthy component never improves the status of others: adding one changes no
//! known answer for the better, and one broken required component is never outvoted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::model::{ConfirmedStatus, Criticality, HealthLevel, HealthStatus};

/// One component, as an input of the system's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemPart {
    /// The id of the component.
    pub(crate) id: String,
    /// The confirmed status.
    pub(crate) confirmed: ConfirmedStatus,
    /// How much its status counts.
    pub(crate) criticality: Criticality,
    /// In maintenance, or monitoring is stopped: it is left out and listed.
    pub(crate) suspended: bool,
    /// Still within the grace after its start: an unknown status does not count against it.
    pub(crate) in_grace: bool,
    /// A redundancy group and how many of its members must work.
    pub(crate) group: Option<(String, usize)>,
    /// Ids of the components it needs.
    pub(crate) depends_on: Vec<String>,
}

/// How many components have each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct StatusCounts {
    /// How many components are watched.
    pub total: usize,
    /// How many of them are HEALTHY.
    pub healthy: usize,
    /// How many of them are WARNING.
    pub warning: usize,
    /// How many of them are CRITICAL.
    pub critical: usize,
    /// How many of them are DOWN.
    pub down: usize,
    /// How many of them are UNKNOWN.
    pub unknown: usize,
    /// How many of all these are left out of the system's status: in maintenance, or monitoring is stopped.
    pub suspended: usize,
}

/// The system's status and what decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemStatus {
    /// The status after caps and quorums.
    pub(crate) status: HealthStatus,
    /// `no_components`, `all_suspended` or `starting` when the status is unknown.
    pub(crate) reason: Option<&'static str>,
    /// Ids of the components that decide it, those that others depend on first; empty when HEALTHY.
    pub(crate) caused_by: Vec<String>,
    /// How many components have each status.
    pub(crate) counts: StatusCounts,
    /// The worst confirmed status of any component, before caps.
    pub(crate) worst_raw: HealthStatus,
    /// Ids of components left out.
    pub(crate) suspended: Vec<String>,
}

/// The system's status, derived from its components.
pub(crate) fn aggregate(parts: &[SystemPart]) -> SystemStatus {
    let counting: Vec<&SystemPart> = parts
        .iter()
        .filter(|part| !part.suspended && part.criticality > Criticality::Informational)
        .collect();
    let evaluated: Vec<AggregateUnit> = units(&counting).iter().map(|unit| evaluate_unit(unit)).collect();
    let worst = evaluated.iter().filter_map(|unit| unit.level).max();
    let starting: Vec<String> =
        evaluated.iter().filter(|unit| unit.is_starting).flat_map(|unit| unit.members.clone()).collect();
    let required_starts = evaluated.iter().any(|unit| unit.is_starting && unit.is_required);
    let (status, reason, causes) = match worst {
        _ if parts.is_empty() => (HealthStatus::Unknown, Some("no_components"), Vec::new()),
        Some(level)
            if level > HealthLevel::Warning || (level == HealthLevel::Warning && !required_starts) =>
        {
            (HealthStatus::from(level), None, causes(&evaluated, level))
        }
        _ if required_starts => (HealthStatus::Unknown, Some("starting"), starting),
        Some(_) => (HealthStatus::Healthy, None, Vec::new()),
        None if !starting.is_empty() => (HealthStatus::Unknown, Some("starting"), starting),
        None if counting.is_empty() && parts.iter().any(|part| part.suspended) => {
            let suspended = parts.iter().filter(|part| part.suspended).map(|part| part.id.clone());
            (HealthStatus::Unknown, Some("all_suspended"), suspended.collect())
        }
        None => (HealthStatus::Unknown, Some("no_components"), Vec::new()),
    };
    let suspended: BTreeSet<String> =
        parts.iter().filter(|part| part.suspended).map(|part| part.id.clone()).collect();
    SystemStatus {
        status,
        reason,
        caused_by: roots_first(parts, causes),
        counts: count(parts),
        worst_raw: worst_raw(parts),
        suspended: suspended.into_iter().collect(),
    }
}

/// A component alone, or the members of a redundancy group as one unit.
struct AggregateUnit {
    /// The level it contributes; `None` contributes nothing (it is still starting).
    level: Option<HealthLevel>,
    is_starting: bool,
    is_required: bool,
    /// Ids of the members that decide its level.
    members: Vec<String>,
}

fn units<'a>(parts: &[&'a SystemPart]) -> Vec<Vec<&'a SystemPart>> {
    let mut groups: BTreeMap<&str, Vec<&SystemPart>> = BTreeMap::new();
    let mut units = Vec::new();
    for part in parts {
        match &part.group {
            Some((name, _)) => groups.entry(name).or_default().push(part),
            None => units.push(vec![*part]),
        }
    }
    units.extend(groups.into_values());
    units
}

fn evaluate_unit(members: &[&SystemPart]) -> AggregateUnit {
    let criticality = members.iter().map(|part| part.criticality).max().unwrap_or(Criticality::Informational);
    let is_required = criticality == Criticality::Required;
    let quorum = members.iter().filter_map(|part| part.group.as_ref()).map(|(_, quorum)| *quorum).max();
    let confirmed = quorum.map_or_else(|| members[0].confirmed, |quorum| group_status(members, quorum));
    let in_grace = members.iter().all(|part| part.in_grace || part.confirmed.level().is_some());
    let is_starting = confirmed.level().is_none() && in_grace;
    let level = match confirmed.level() {
        Some(level) => Some(level.min(criticality.cap())),
        None if is_starting => None,
        None => Some(criticality.of_unknown()),
    };
    let worst =
        members.iter().map(|part| part.confirmed.level()).max_by_key(|level| badness(*level)).flatten();
    let members = members
        .iter()
        .filter(|part| {
            part.confirmed.level() == worst || !part.confirmed.level().is_some_and(HealthLevel::is_up)
        })
        .map(|part| part.id.clone())
        .collect();
    AggregateUnit { level, is_starting, is_required, members }
}

fn group_status(members: &[&SystemPart], quorum: usize) -> ConfirmedStatus {
    let levels: Vec<Option<HealthLevel>> = members.iter().map(|part| part.confirmed.level()).collect();
    if levels.iter().all(Option::is_none) {
        return members[0].confirmed;
    }
    let ok = levels.iter().filter(|level| level.is_some_and(HealthLevel::is_up)).count();
    let level = if ok == levels.len() {
        levels.iter().flatten().copied().max().unwrap_or(HealthLevel::Healthy)
    } else if ok >= quorum.max(1) {
        HealthLevel::Warning
    } else if ok > 0 {
        HealthLevel::Critical
    } else {
        HealthLevel::Down
    };
    ConfirmedStatus::Known(level)
}

fn badness(level: Option<HealthLevel>) -> i64 {
    level.map_or(2, |level| level.number() * 2 - 1)
}

fn causes(evaluated: &[AggregateUnit], level: HealthLevel) -> Vec<String> {
    evaluated.iter().filter(|unit| unit.level == Some(level)).flat_map(|unit| unit.members.clone()).collect()
}

/// Sorts ids by depth in the graph of dependencies, then by name.
fn roots_first(parts: &[SystemPart], ids: Vec<String>) -> Vec<String> {
    let needs: BTreeMap<&str, &[String]> =
        parts.iter().map(|part| (part.id.as_str(), part.depends_on.as_slice())).collect();
    let mut ids: Vec<String> = ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    ids.sort_by_cached_key(|id| depth(&needs, id, parts.len()));
    ids
}

/// The longest path down to a component without dependencies. `limit` ends the walk if there is a circle.
fn depth(needs: &BTreeMap<&str, &[String]>, id: &str, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    let parents = needs.get(id).copied().unwrap_or_default();
    parents.iter().map(|parent| 1 + depth(needs, parent, limit - 1)).max().unwrap_or(0)
}

fn count(parts: &[SystemPart]) -> StatusCounts {
    let mut counts = StatusCounts { total: parts.len(), ..StatusCounts::default() };
    for part in parts {
        counts.suspended += usize::from(part.suspended);
        *match part.confirmed.status() {
            HealthStatus::Healthy => &mut counts.healthy,
            HealthStatus::Warning => &mut counts.warning,
            HealthStatus::Critical => &mut counts.critical,
            HealthStatus::Down => &mut counts.down,
            HealthStatus::Unknown => &mut counts.unknown,
        } += 1;
    }
    counts
}

fn worst_raw(parts: &[SystemPart]) -> HealthStatus {
    let worst = parts.iter().filter_map(|part| part.confirmed.level()).max();
    worst.map_or(HealthStatus::Unknown, HealthStatus::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUSES: [ConfirmedStatus; 5] = [
        ConfirmedStatus::Known(HealthLevel::Healthy),
        ConfirmedStatus::Known(HealthLevel::Warning),
        ConfirmedStatus::Known(HealthLevel::Critical),
        ConfirmedStatus::Known(HealthLevel::Down),
        ConfirmedStatus::Stale,
    ];

    const CRITICALITIES: [Criticality; 4] =
        [Criticality::Informational, Criticality::Optional, Criticality::Important, Criticality::Required];

    fn part(id: usize, confirmed: ConfirmedStatus, criticality: Criticality) -> SystemPart {
        SystemPart {
            id: format!("c{id}"),
            confirmed,
            criticality,
            suspended: false,
            in_grace: false,
            group: None,
            depends_on: Vec::new(),
        }
    }

    fn many(healthy: usize, bad: HealthLevel, criticality: Criticality) -> Vec<SystemPart> {
        let mut parts: Vec<SystemPart> = (0..healthy)
            .map(|id| part(id, ConfirmedStatus::Known(HealthLevel::Healthy), Criticality::Required))
            .collect();
        parts.push(part(healthy, ConfirmedStatus::Known(bad), criticality));
        parts
    }

    #[track_caller]
    fn check(parts: &[SystemPart], expected: HealthStatus) {
        assert_eq!(aggregate(parts).status, expected);
    }

    #[test]
    fn the_table_of_examples_holds() {
        check(&[], HealthStatus::Unknown);
        check(&many(99, HealthLevel::Down, Criticality::Required), HealthStatus::Down);
        check(&many(3, HealthLevel::Down, Criticality::Important), HealthStatus::Critical);
        check(&many(99, HealthLevel::Down, Criticality::Optional), HealthStatus::Warning);
        check(&many(3, HealthLevel::Critical, Criticality::Required), HealthStatus::Critical);
        check(&many(3, HealthLevel::Warning, Criticality::Required), HealthStatus::Warning);
        check(&[part(0, ConfirmedStatus::Stale, Criticality::Required)], HealthStatus::Critical);
        let mut suspended = part(0, ConfirmedStatus::Known(HealthLevel::Down), Criticality::Required);
        suspended.suspended = true;
        let whole = aggregate(&[suspended]);
        assert_eq!((whole.status, whole.reason), (HealthStatus::Unknown, Some("all_suspended")));
        assert_eq!(whole.suspended, ["c0"]);
    }

    #[test]
    fn a_required_component_that_starts_makes_the_whole_unknown_unless_something_is_worse() {
        let mut starting = part(0, ConfirmedStatus::Starting, Criticality::Required);
        starting.in_grace = true;
        let whole = aggregate(&[starting.clone(), part(1, STATUSES[1], Criticality::Required)]);
        assert_eq!((whole.status, whole.reason), (HealthStatus::Unknown, Some("starting")));
        assert_eq!(whole.caused_by, ["c0"]);
        check(&[starting.clone(), part(1, STATUSES[2], Criticality::Required)], HealthStatus::Critical);
        starting.criticality = Criticality::Optional;
        check(&[starting, part(1, STATUSES[0], Criticality::Required)], HealthStatus::Healthy);
    }

    #[test]
    fn a_group_works_while_its_quorum_works() {
        let group = |levels: &[usize], quorum: usize| {
            let parts: Vec<SystemPart> = levels
                .iter()
                .enumerate()
                .map(|(id, level)| SystemPart {
                    group: Some(("feeds".to_owned(), quorum)),
                    ..part(id, STATUSES[*level], Criticality::Required)
                })
                .collect();
            aggregate(&parts)
        };
        assert_eq!(group(&[0, 0, 0], 2).status, HealthStatus::Healthy);
        assert_eq!(group(&[0, 1, 0], 2).status, HealthStatus::Warning);
        assert_eq!(group(&[0, 3, 0], 2).status, HealthStatus::Warning);
        assert_eq!(group(&[0, 3, 0], 2).caused_by, ["c1"]);
        assert_eq!(group(&[0, 3, 3], 2).status, HealthStatus::Critical);
        assert_eq!(group(&[3, 2, 3], 2).status, HealthStatus::Down);
        assert_eq!(group(&[0, 4, 4], 2).status, HealthStatus::Critical);
        assert_eq!(group(&[4, 4, 4], 2).status, HealthStatus::Critical);
    }

    #[test]
    fn roots_of_the_dependencies_come_first() {
        let mut child = part(0, STATUSES[3], Criticality::Required);
        child.depends_on = vec!["c9".to_owned()];
        let parent = part(9, STATUSES[3], Criticality::Required);
        assert_eq!(aggregate(&[child, parent]).caused_by, ["c9", "c0"]);
    }

    /// Every combination of up to three components, each in one of 5 statuses and 4 criticalities.
    fn all_small() -> Vec<Vec<SystemPart>> {
        let mut all = vec![Vec::new()];
        for length in 1..=3_u32 {
            for number in 0..20_usize.pow(length) {
                let parts = (0..length).map(|place| {
                    let choice = number / 20_usize.pow(place) % 20;
                    part(place as usize, STATUSES[choice % 5], CRITICALITIES[choice / 5])
                });
                all.push(parts.collect());
            }
        }
        all
    }

    fn rank(status: HealthStatus) -> usize {
        HealthStatus::ALL.iter().position(|known| *known == status).unwrap()
    }

    #[test]
    fn a_healthy_component_more_never_improves_a_known_answer() {
        for parts in all_small() {
            let before = aggregate(&parts);
            if before.status == HealthStatus::Unknown {
                continue;
            }
            for criticality in CRITICALITIES {
                let mut more = parts.clone();
                more.push(part(7, ConfirmedStatus::Known(HealthLevel::Healthy), criticality));
                assert!(rank(aggregate(&more).status) >= rank(before.status), "{more:?}");
            }
        }
    }

    #[test]
    fn a_worse_component_never_improves_the_answer_and_causes_are_named_exactly_when_not_healthy() {
        for parts in all_small() {
            let before = aggregate(&parts);
            if before.status != HealthStatus::Unknown {
                assert_eq!(before.caused_by.is_empty(), before.status == HealthStatus::Healthy, "{parts:?}");
                let is_unknown = parts.iter().any(|part| part.confirmed.level().is_none());
                assert!(is_unknown || rank(before.status) <= rank(before.worst_raw), "{parts:?}");
            }
            for place in 0..parts.len() {
                let mut worse = parts.clone();
                let Some(level) = worse[place].confirmed.level() else { continue };
                let Some(next) = HealthLevel::ALL.get(level as usize + 1) else { continue };
                worse[place].confirmed = ConfirmedStatus::Known(*next);
                assert!(rank(aggregate(&worse).status) >= rank(before.status), "{worse:?}");
            }
        }
    }

    fn any_part() -> impl Strategy<Value = SystemPart> {
        (0_usize..6, 0_usize..5, 0_usize..4, any::<bool>(), 0_usize..3).prop_map(
            |(id, status, criticality, suspended, group)| SystemPart {
                suspended,
                group: (group > 0).then(|| (format!("g{group}"), group)),
                ..part(id, STATUSES[status], CRITICALITIES[criticality])
            },
        )
    }

    proptest! {
        #[test]
        fn order_does_not_matter(parts in prop::collection::vec(any_part(), 0..8), seed in any::<u64>()) {
            let mut shuffled = parts.clone();
            let mut seed = seed;
            for index in (1..shuffled.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, usize::try_from(seed >> 33).unwrap() % (index + 1));
            }
            let (one, other) = (aggregate(&parts), aggregate(&shuffled));
            prop_assert_eq!(one.status, other.status);
            prop_assert_eq!(one.caused_by, other.caused_by);
            prop_assert_eq!(one.counts, other.counts);
        }

        #[test]
        fn worsening_a_member_of_a_group_never_improves(
            parts in prop::collection::vec(any_part(), 1..8), place in any::<prop::sample::Index>())
        {
            let mut worse = parts.clone();
            let part = place.get(&worse).clone();
            let index = worse.iter().position(|other| *other == part).unwrap();
            if let Some(next) = part.confirmed.level().and_then(|level| HealthLevel::ALL.get(level as usize + 1)) {
                worse[index].confirmed = ConfirmedStatus::Known(*next);
                let (before, after) = (aggregate(&parts).status, aggregate(&worse).status);
                prop_assert!(before == HealthStatus::Unknown || rank(after) >= rank(before));
            }
        }
    }
}
