//! Turns the table of system calls into a seccomp program.
//!
//! The program is a list of tests in the table's order; what none refuses is
//! allowed. Numbers beyond the newest call known here do not exist for the
//! sandbox: what a newer kernel adds is refused until somebody has looked at it.

use tidegate_keeper::sys::restrict::Instruction;

use super::system_calls::{NEWEST, Refusal, Rule, TABLE};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_ABOVE: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn low_half_of_argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
const OURS: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const OURS: u32 = 0xC000_00B7;

const ALLOW: u32 = 0x7fff_0000;
const fn refuse(error: i32) -> u32 {
    0x0005_0000 | (error.unsigned_abs() & 0xffff)
}

const fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The whole program.
pub(super) fn program() -> Vec<Instruction> {
    let missing = instruction(RETURN, refuse(libc::ENOSYS), 0, 0);
    let mut program = vec![
        // Another architecture's calls have other numbers (32-bit on x86-64).
        instruction(LOAD, ARCHITECTURE, 0, 0),
        instruction(IF_EQUAL, OURS, 1, 0),
        missing,
        // Also refuses the x32 calls, whose numbers have bit 30 set.
        instruction(LOAD, NUMBER, 0, 0),
        instruction(IF_ABOVE, NEWEST, 0, 1),
        missing,
    ];
    for rule in TABLE {
        program.extend(test(rule));
    }
    program.push(instruction(RETURN, ALLOW, 0, 0));
    program
}

/// Tests one rule; the accumulator holds the call's number before and after.
fn test(rule: &Rule) -> Vec<Instruction> {
    let number = u32::try_from(rule.call).unwrap_or(u32::MAX);
    let answer = instruction(RETURN, refuse(rule.error), 0, 0);
    let body = match rule.refusal {
        Refusal::Always => vec![answer],
        Refusal::AnyBit { argument, bits } => vec![
            instruction(LOAD, low_half_of_argument(argument), 0, 0),
            instruction(AND, bits, 0, 0),
            instruction(IF_EQUAL, 0, 1, 0),
            answer,
            instruction(LOAD, NUMBER, 0, 0),
        ],
        Refusal::Equal { argument, value } => vec![
            instruction(LOAD, low_half_of_argument(argument), 0, 0),
            instruction(IF_EQUAL, value, 0, 1),
            answer,
            instruction(LOAD, NUMBER, 0, 0),
        ],
        Refusal::EqualButNot { argument, value, other, unless } => vec![
            instruction(LOAD, low_half_of_argument(argument), 0, 0),
            instruction(IF_EQUAL, value, 0, 3),
            instruction(LOAD, low_half_of_argument(other), 0, 0),
            instruction(IF_EQUAL, unless, 1, 0),
            answer,
            instruction(LOAD, NUMBER, 0, 0),
        ],
        Refusal::NoneOf { argument, values } => {
            let mut body = vec![instruction(LOAD, low_half_of_argument(argument), 0, 0)];
            for (index, value) in values.iter().enumerate() {
                // Past the remaining comparisons and the answer.
                let past = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                body.push(instruction(IF_EQUAL, *value, past, 0));
            }
            body.push(answer);
            body.push(instruction(LOAD, NUMBER, 0, 0));
            body
        }
    };
    let skip = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut whole = vec![instruction(IF_EQUAL, number, 0, skip)];
    whole.extend(body);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the program, as the kernel would, for a call.
    fn run(architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let program = program();
        let (mut at, mut value) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD if k == NUMBER => value = number,
                LOAD if k == ARCHITECTURE => value = architecture,
                LOAD => value = arguments[((k - 16) / 8) as usize],
                AND => value &= k,
                IF_EQUAL => at += jump(value == k),
                IF_ABOVE => at += jump(value > k),
                RETURN => return k,
                _ => panic!("unknown instruction {code}"),
            }
        }
    }

    fn call(number: libc::c_long, arguments: [u32; 6]) -> u32 {
        run(OURS, u32::try_from(number).expect("a number"), arguments)
    }

    #[test]
    fn every_rule_refuses_what_it_names_with_its_error() {
        for rule in TABLE {
            let mut arguments = [0; 6];
            match rule.refusal {
                Refusal::Always => {}
                Refusal::AnyBit { argument, bits } => arguments[argument as usize] = bits,
                Refusal::Equal { argument, value } => arguments[argument as usize] = value,
                Refusal::NoneOf { argument, .. } => arguments[argument as usize] = 999,
                Refusal::EqualButNot { argument, value, other, unless } => {
                    arguments[argument as usize] = value;
                    arguments[other as usize] = unless + 1;
                }
            }
            assert_eq!(call(rule.call, arguments), refuse(rule.error), "{}", rule.why);
        }
    }

    #[test]
    fn ordinary_programs_are_not_in_the_way() {
        assert_eq!(call(libc::SYS_read, [0; 6]), ALLOW);
        assert_eq!(call(libc::SYS_execve, [0; 6]), ALLOW);
        // A thread, as libc makes it.
        assert_eq!(call(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]), ALLOW);
        let tcp = [libc::AF_INET.unsigned_abs(), 1, 0, 0, 0, 0];
        assert_eq!(call(libc::SYS_socket, tcp), ALLOW);
        let route = [libc::AF_NETLINK.unsigned_abs(), 3, 0, 0, 0, 0];
        assert_eq!(call(libc::SYS_socket, route), ALLOW);
    }

    #[test]
    fn what_is_unknown_does_not_exist() {
        let missing = refuse(libc::ENOSYS);
        assert_eq!(run(OURS, NEWEST + 1, [0; 6]), missing);
        assert_eq!(run(OURS, 0x4000_0001, [0; 6]), missing);
        assert_eq!(run(0x4000_0003, 1, [0; 6]), missing);
    }
}
