//! The rule that ends writes of dead drivers: heartbeats, the watch of the servers, and outages.
//!
//! Time passes in units, and a heartbeat is due in each. A driver sends a failed heartbeat again at once. A process
//! that runs does what is due before time passes. A process that is away or suspended does nothing, for any number of
//! units.

use stateright::{Checker, HasDiscoveries, Model, Property};

/// `--driver-ttl`, in units.
const TTL: u8 = 6;
/// A sixth of it.
const HEARTBEAT: u8 = 1;
/// Time ends here.
const END: u8 = 14;
const SERVERS: usize = 2;
/// A write must end within this time after its driver died and after the last outage.
const SOON: u8 = TTL + 2;

/// The rules that the mutants break.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Silence is measured up to the last record of the watch, not up to now.
    by_the_watch: bool,
    /// Silence counts from when a server could take a heartbeat again.
    since_counts: bool,
    /// After a gap of this length in the watch, no server could take a heartbeat.
    gap: u8,
    /// Only the longer limits apply to a driver that was never heard.
    only_heard: bool,
    /// A write that is begun again belongs to the later driver.
    later_driver: bool,
    /// Such a begin counts as a heartbeat of the later driver.
    begin_is_heard: bool,
}

const RULES: Rules = Rules {
    by_the_watch: true,
    since_counts: true,
    gap: TTL / 4,
    only_heard: true,
    later_driver: true,
    begin_is_heard: true,
};

/// The faults and events of a search.
#[derive(Debug, Clone, Copy)]
struct World {
    rules: Rules,
    /// The number of times that a process stops or is suspended.
    faults: u8,
    /// Whether the first driver may die.
    dies: bool,
    /// Whether another driver begins the write again.
    begun_again: bool,
    /// Whether drivers send heartbeats at all.
    heartbeats: bool,
}

const WORLD: World = World {
    rules: RULES,
    faults: 2,
    dies: true,
    begun_again: false,
    heartbeats: true,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    faults: u8,
    postgresql_is_up: bool,
    servers: [Server; SERVERS],
    drivers: [Driver; 2],
    /// The driver that the job needs: that of the last begin.
    needed: usize,
    /// The time since which everything runs again.
    well_since: u8,
    // The fields below are in the ledger.
    is_open: bool,
    /// The driver of the write.
    driver: usize,
    since: u8,
    seen_at: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Server {
    is_up: bool,
    stands_still: bool,
    /// It has recorded the watch and not looked for dead drivers yet.
    looks: bool,
    /// The time of its last record of the watch.
    watched: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Driver {
    died_at: Option<u8>,
    due: u8,
    /// In the ledger.
    heard_at: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Pass,
    Beat(usize),
    Watch(usize),
    Look(usize),
    Die,
    BeginAgain,
    StopServer(usize),
    StartServer(usize),
    Freeze(usize),
    Thaw(usize),
    StopPostgresql,
    StartPostgresql,
}

impl State {
    fn works(&self, server: usize) -> bool {
        let server = &self.servers[server];
        self.postgresql_is_up && server.is_up && !server.stands_still
    }

    fn is_served(&self) -> bool {
        (0..SERVERS).any(|server| self.works(server))
    }

    /// Whether everything runs.
    fn is_well(&self) -> bool {
        (0..SERVERS).all(|server| self.works(server))
    }

    fn beats(&self, driver: usize) -> bool {
        self.drivers[driver].died_at.is_none() && (driver == self.needed || driver == 0)
    }

    /// Returns whether an action must happen before time continues.
    fn is_due(&self, world: &World) -> bool {
        let servers = 0..SERVERS;
        let watches = servers.into_iter().any(|server| {
            let state = &self.servers[server];
            self.works(server) && (state.looks || state.watched < self.now)
        });
        let beats = (0..2).any(|driver| {
            world.heartbeats && self.beats(driver) && self.drivers[driver].due <= self.now
        });
        watches || beats && self.is_served()
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let driver = Driver {
            died_at: None,
            due: 0,
            heard_at: None,
        };
        // The second driver was heard before, about other writes.
        let later = Driver {
            heard_at: Some(0),
            ..driver.clone()
        };
        let server = Server {
            is_up: true,
            stands_still: false,
            looks: false,
            watched: 0,
        };
        vec![State {
            now: 0,
            faults: self.faults,
            postgresql_is_up: true,
            servers: [server.clone(), server],
            drivers: [driver, later],
            needed: 0,
            well_since: 0,
            is_open: true,
            driver: 0,
            since: 0,
            seen_at: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.is_open || state.now >= END {
            return;
        }
        if !state.is_due(self) {
            actions.push(Action::Pass);
        }
        for driver in 0..2 {
            let due = state.drivers[driver].due <= state.now;
            if self.heartbeats && state.is_served() && state.beats(driver) && due {
                actions.push(Action::Beat(driver));
            }
        }
        for (number, server) in state.servers.iter().enumerate() {
            if state.works(number) && server.looks {
                actions.push(Action::Look(number));
            } else if state.works(number) && server.watched < state.now {
                actions.push(Action::Watch(number));
            }
            match (server.is_up, server.stands_still) {
                (false, _) => actions.push(Action::StartServer(number)),
                (true, true) => actions.push(Action::Thaw(number)),
                (true, false) if state.faults > 0 => {
                    actions.push(Action::StopServer(number));
                    // One suspended process is enough to show the effect.
                    if number == 0 {
                        actions.push(Action::Freeze(number));
                    }
                }
                (true, false) => {}
            }
        }
        if !state.postgresql_is_up {
            actions.push(Action::StartPostgresql);
        } else if state.faults > 0 {
            actions.push(Action::StopPostgresql);
        }
        if self.dies && state.drivers[0].died_at.is_none() {
            actions.push(Action::Die);
        }
        if self.begun_again && state.needed == 0 && state.is_served() {
            actions.push(Action::BeginAgain);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Pass => {
                state.now += 1;
            }
            Action::Beat(driver) => {
                state.drivers[driver].heard_at = Some(state.now);
                state.drivers[driver].due = state.now + HEARTBEAT;
            }
            Action::Watch(server) => {
                if state.seen_at + self.rules.gap < state.now {
                    state.since = state.now;
                }
                state.seen_at = state.now;
                state.servers[server].watched = state.now;
                state.servers[server].looks = true;
            }
            Action::Look(server) => {
                state.servers[server].looks = false;
                state.is_open = !self.is_dead(last);
            }
            Action::Die => state.drivers[0].died_at = Some(state.now),
            Action::BeginAgain => {
                state.needed = 1;
                state.drivers[1].due = state.now + HEARTBEAT;
                if self.rules.later_driver {
                    state.driver = 1;
                }
                if self.rules.begin_is_heard {
                    state.drivers[1].heard_at = Some(state.now);
                }
            }
            Action::StopServer(server) => {
                state.servers[server].is_up = false;
                // The server loses the work that it was about to do.
                state.servers[server].looks = false;
            }
            Action::StartServer(server) => state.servers[server].is_up = true,
            Action::Freeze(server) => state.servers[server].stands_still = true,
            Action::Thaw(server) => state.servers[server].stands_still = false,
            Action::StopPostgresql => state.postgresql_is_up = false,
            Action::StartPostgresql => state.postgresql_is_up = true,
        }
        let fails = [
            state.postgresql_is_up != last.postgresql_is_up && last.postgresql_is_up,
            matches!(action, Action::StopServer(_) | Action::Freeze(_)),
        ];
        if fails.contains(&true) {
            state.faults -= 1;
        }
        if !state.is_well() {
            state.well_since = state.now;
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HEALTHY, |_, state: &State| {
                state.is_open || state.drivers[state.needed].died_at.is_some()
            }),
            Property::always(DEAD, |world: &World, state: &State| {
                let driver = &state.drivers[state.needed];
                let Some(died_at) = driver.died_at else {
                    return true;
                };
                let begun = died_at.max(state.well_since);
                let was_heard = driver.heard_at.is_some();
                !(state.is_open && was_heard && world.heartbeats && begun + SOON < state.now)
            }),
            Property::sometimes(ENDS, |world: &World, state: &State| {
                !state.is_open || !world.dies || !world.heartbeats
            }),
        ]
    }
}

impl World {
    /// Whether the driver of the write seems dead.
    fn is_dead(&self, state: &State) -> bool {
        let heard_at = match state.drivers[state.driver].heard_at {
            Some(heard_at) => heard_at,
            None if self.rules.only_heard => return false,
            None => 0,
        };
        let mut since = heard_at;
        if self.rules.since_counts {
            since = since.max(state.since);
        }
        let until = if self.rules.by_the_watch {
            state.seen_at
        } else {
            state.now
        };
        since + TTL < until
    }
}

const HEALTHY: &str = "no write of a healthy driver is aborted";
const DEAD: &str = "a write whose driver died ends soon";
const ENDS: &str = "a write ends";

fn search(what: &str, world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{what}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Searches until a write of a healthy driver is aborted.
fn breaks(world: World) {
    let checker = world
        .checker()
        .finish_when(HasDiscoveries::AnyOf([HEALTHY].into()))
        .spawn_bfs()
        .join();
    let path = checker.discovery(HEALTHY).expect("it is found");
    println!(
        "{} states: {:?}",
        checker.unique_state_count(),
        path.into_actions()
    );
}

#[test]
fn writes_of_dead_drivers_end_and_no_others() {
    search("liveness", WORLD);
}

#[test]
fn a_write_that_is_begun_again_ends_with_the_later_driver() {
    search("a later driver", again());
}

#[test]
fn a_driver_that_sends_no_heartbeats_is_not_taken_for_dead() {
    search("no heartbeats", silent());
}

fn again() -> World {
    World {
        begun_again: true,
        faults: 1,
        ..WORLD
    }
}

fn silent() -> World {
    World {
        heartbeats: false,
        dies: false,
        ..WORLD
    }
}

fn with(rules: Rules, world: World) -> World {
    World { rules, ..world }
}

#[test]
fn without_the_watch_an_outage_ends_healthy_writes() {
    let rules = Rules {
        since_counts: false,
        ..RULES
    };
    breaks(with(rules, WORLD));
}

#[test]
fn a_gap_as_long_as_the_limit_ends_healthy_writes() {
    breaks(with(Rules { gap: TTL, ..RULES }, WORLD));
}

#[test]
fn silence_up_to_now_ends_healthy_writes_after_a_standstill() {
    let rules = Rules {
        by_the_watch: false,
        ..RULES
    };
    breaks(with(rules, WORLD));
}

#[test]
fn a_limit_for_silent_drivers_ends_healthy_writes() {
    let rules = Rules {
        only_heard: false,
        ..RULES
    };
    breaks(with(rules, silent()));
}

#[test]
fn a_write_kept_by_its_first_driver_ends_under_the_later_one() {
    let rules = Rules {
        later_driver: false,
        ..RULES
    };
    breaks(with(rules, again()));
}

#[test]
fn a_begin_that_is_no_heartbeat_ends_the_write_it_takes_over() {
    let rules = Rules {
        begin_is_heard: false,
        ..RULES
    };
    breaks(with(rules, again()));
}
