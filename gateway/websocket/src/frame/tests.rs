//! Frames, cut at every place, and each rule of RFC 6455 section 5 broken once.

use super::*;

const FREE: Rules = Rules { masked: false, reserved: 0, max_frame: 1 << 20, max_message: 1 << 20 };

fn frames(rules: Rules) -> Frames {
    Frames::new(rules)
}

fn whole(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Step>, Violation> {
    let (mut at, mut steps) = (0, Vec::new());
    while at < bytes.len() {
        let step = frames.step(&bytes[at..])?;
        steps.push(step);
        at += match step {
            Step::Data { len, .. } | Step::Control { len, .. } => len,
            Step::More => return Ok(steps),
        };
    }
    Ok(steps)
}

#[test]
fn frames_are_cut_where_they_end() {
    let mut bytes = vec![0x01, 2, b'a', b'b', 0x89, 1, b'p', 0x80, 126, 0, 200];
    bytes.extend([b'c'; 200]);
    let steps = whole(&mut frames(FREE), &bytes).expect("frames");
    assert_eq!(
        steps,
        [
            Step::Data { len: 4, begins: true },
            Step::Control { kind: Control::Ping, len: 3 },
            Step::Data { len: 204, begins: true },
        ]
    );
}

#[test]
fn every_split_gives_the_same_frames() {
    let mut bytes = vec![0x01, 0x82, 1, 2, 3, 4, b'a', b'b', 0x8a, 0x81, 9, 9, 9, 9, b'p'];
    bytes.extend([0x80, 0xfe, 1, 0, 5, 6, 7, 8]);
    bytes.extend([b'c'; 256]);
    bytes.extend([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 5, 6, 7, 8]);
    bytes.extend(vec![b'd'; 65536]);
    let rules = Rules { masked: true, ..FREE };
    for cut in (0..300).chain([bytes.len() - 1, bytes.len()]) {
        let (mut frames, mut begun, mut controls, mut carry) = (frames(rules), 0, 0, Vec::new());
        for part in [&bytes[..cut], &bytes[cut..]] {
            carry.extend_from_slice(part);
            let mut at = 0;
            while at < carry.len() {
                match frames.step(&carry[at..]).expect("a frame") {
                    Step::Data { len, begins } => (at, begun) = (at + len, begun + usize::from(begins)),
                    Step::Control { len, .. } => (at, controls) = (at + len, controls + 1),
                    Step::More => break,
                }
            }
            carry.drain(..at);
            assert!(carry.len() < LONGEST_HEAD + LONGEST_CONTROL);
        }
        assert_eq!((begun, controls, carry.len(), frames.between()), (3, 1, 0, true), "cut at {cut}");
    }
}

#[test]
fn each_rule_is_kept() {
    let client = Rules { masked: true, ..FREE };
    let deflate = Rules { reserved: 0x40, ..FREE };
    let big = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
    let cases: Vec<(Rules, Vec<u8>, Violation)> = vec![
        (FREE, vec![0xc1, 0], Violation::ReservedBits),
        (deflate, vec![0xa1, 0], Violation::ReservedBits),
        (deflate, vec![0xc9, 0], Violation::ReservedBits),
        (deflate, vec![0x41, 0, 0xc0, 0], Violation::ReservedBits),
        (FREE, vec![0x83, 0], Violation::Opcode),
        (FREE, vec![0x8b, 0], Violation::Opcode),
        (FREE, vec![0x8f, 0], Violation::Opcode),
        (FREE, vec![0x81, 0x80], Violation::Masking),
        (client, vec![0x81, 0], Violation::Masking),
        (FREE, vec![0x09, 0], Violation::Control),
        (FREE, vec![0x89, 126], Violation::Control),
        (FREE, vec![0x88, 1], Violation::Control),
        (FREE, vec![0x82, 126, 0, 125], Violation::Length),
        (FREE, big(0xffff), Violation::Length),
        (FREE, vec![0x82, 127, 0x80], Violation::Length),
        (FREE, vec![0x80, 0], Violation::Sequence),
        (FREE, vec![0x01, 0, 0x81, 0], Violation::Sequence),
        (FREE, big((1 << 20) + 1), Violation::TooBig),
        (Rules { max_message: 3, ..FREE }, vec![0x01, 2, 1, 2, 0x80, 2], Violation::TooBig),
    ];
    for (rules, bytes, violation) in cases {
        assert_eq!(whole(&mut frames(rules), &bytes), Err(violation), "{bytes:x?}");
    }
    assert!(whole(&mut frames(deflate), &[0xc1, 0, 0x41, 1, 7, 0x89, 0, 0x80, 1, 7]).is_ok());
    assert!(whole(&mut frames(Rules { max_message: 4, ..FREE }), &[0x01, 2, 1, 2, 0x80, 2, 1, 2]).is_ok());
}

#[test]
fn what_is_written_can_be_read() {
    for mask in [None, Some([7, 0, 255, 3])] {
        let mut out = Vec::new();
        write_control(&mut out, Control::Close, b"\x11\x31bye", mask);
        let mut frames = frames(Rules { masked: mask.is_some(), ..FREE });
        assert_eq!(frames.step(&out), Ok(Step::Control { kind: Control::Close, len: out.len() }));
        assert_eq!(control_payload(&out).collect::<Vec<_>>(), b"\x11\x31bye");
    }
}
