//! Many who come and go at once: everybody is told everything, in one order.

use std::collections::BTreeSet;

use confkit::id::MemberId;
use confkit::wire::Kind;
use confkit::wire::control::{Control, Goodbye, Hello};

use crate::support::peer::{Host, Peer, hello};

/// What a peer has been told of the others.
#[derive(Default)]
struct Told {
    here: BTreeSet<MemberId>,
    came: BTreeSet<MemberId>,
    left: BTreeSet<MemberId>,
}

impl Told {
    fn handle(&mut self, operation: &Control) {
        match operation {
            Control::State(state) => self.here.extend(state.members.iter().map(|member| member.member)),
            Control::Member(member) => {
                assert!(self.came.insert(member.member), "{} came twice", member.name);
                assert!(!self.left.contains(&member.member), "{} is told of after leaving", member.name);
                self.here.insert(member.member);
            }
            Control::MemberLeft { member } => {
                assert!(self.left.insert(*member), "{member} left twice");
                self.here.remove(member);
            }
            _ => {}
        }
    }

    /// Takes in what comes until `last` has come.
    fn hear(&mut self, peer: &mut Peer, last: MemberId) {
        while !self.came.contains(&last) {
            let frame = peer.next().expect("the connection stays");
            if frame.header.kind == Kind::Control {
                self.handle(&frame.operation().unwrap());
            }
        }
    }
}

#[test]
fn three_hundred_who_come_at_once_and_half_of_whom_leave_are_the_same_for_everybody() {
    let host = Host::start();
    let mut peers: Vec<Peer> = (0..300).map(|_| Peer::connect(host.address)).collect();
    // Names so long that what is said of all is more than is put together at once.
    for (peer, n) in peers.iter_mut().zip(0..) {
        peer.say(&Control::Hello(Hello {
            subscribe: Vec::new(),
            ..hello(&format!("{n}{}", "n".repeat(60)))
        }));
    }
    let stay = peers.split_off(150);
    for mut peer in peers {
        peer.wait(|op| matches!(op, Control::Welcome(_)).then_some(()));
        peer.say(&Control::Goodbye(Goodbye::default()));
        assert!(peer.ends());
    }
    let (mut last, welcome) = Peer::join(host.address, "Last");
    let mut asked = Peer::connect(host.address);
    asked.say(&Control::Hello(Hello { look: true, ..hello("Looker") }));
    let mut there = Told::default();
    let mut more = true;
    while more {
        let state = asked.wait(|op| if let Control::State(state) = op { Some(state) } else { None });
        more = state.more;
        there.handle(&Control::State(state));
    }
    assert_eq!(there.here.len(), 151);
    for mut peer in stay {
        let mut told = Told::default();
        told.hear(&mut peer, welcome.member);
        assert_eq!(told.here, there.here);
    }
    last.settle();
}
