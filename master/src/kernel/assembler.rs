//! Just enough of an assembler for one program of fifty instructions.
//!
//! An instruction is eight bytes: what to do, with which registers, an offset and a number.
//! `linux/bpf.h` and the kernel's `Documentation/bpf/standardization/instruction-set.rst` say
//! how they are coded; each method here is one of them, under a name that can be read.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Registers. r1 to r5 are arguments, which a call overwrites; r0 is its result; r10 is where
/// the stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R10 = 10,
}

use Register::R0;

/// Where a jump leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Label {
    Take,
    Drop,
    Pass,
}

/// One instruction as the kernel reads it (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// The source's number above the target's.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

// What to do (BPF_ALU64 and so on), joined with where the operand is.
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const ADD: u8 = 0x07;
const ADD_REGISTER: u8 = 0x0f;
const MULTIPLY: u8 = 0x27;
const AND: u8 = 0x57;
const SHIFT_LEFT: u8 = 0x67;
const MODULO_REGISTER: u8 = 0x9f;
const LOAD_U8: u8 = 0x71;
const LOAD_U32: u8 = 0x61;
const LOAD_U64: u8 = 0x79;
const LOAD_LONG: u8 = 0x18;
const STORE_U32: u8 = 0x63;
const STORE_NUMBER_U32: u8 = 0x62;
const ATOMIC_U64: u8 = 0xdb;
const JUMP_ABOVE_REGISTER: u8 = 0x2d;
const JUMP_ABOVE: u8 = 0x25;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_ANY_BIT: u8 = 0x45;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// An atomic addition that returns what was there before (`BPF_ADD | BPF_FETCH`).
const FETCH_AND_ADD: i32 = 0x01;

/// What a long load's number is, in place of a source register: a map, or the address of its
/// only value (`BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`).
const MAP: u8 = 1;
const VALUE_OF_MAP: u8 = 2;

/// A program that is being written down.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    written: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: HashMap<Label, usize>,
}

impl Assembler {
    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.write(COPY, (to as u8, from as u8), 0, 0);
    }

    pub(super) fn set(&mut self, to: Register, number: i32) {
        self.write(SET, (to as u8, 0), 0, number);
    }

    pub(super) fn add(&mut self, to: Register, number: i32) {
        self.write(ADD, (to as u8, 0), 0, number);
    }

    pub(super) fn add_register(&mut self, to: Register, from: Register) {
        self.write(ADD_REGISTER, (to as u8, from as u8), 0, 0);
    }

    pub(super) fn multiply(&mut self, to: Register, number: i32) {
        self.write(MULTIPLY, (to as u8, 0), 0, number);
    }

    pub(super) fn and(&mut self, to: Register, number: i32) {
        self.write(AND, (to as u8, 0), 0, number);
    }

    pub(super) fn shift_left(&mut self, to: Register, bits: i32) {
        self.write(SHIFT_LEFT, (to as u8, 0), 0, bits);
    }

    pub(super) fn modulo(&mut self, to: Register, divisor: Register) {
        self.write(MODULO_REGISTER, (to as u8, divisor as u8), 0, 0);
    }

    pub(super) fn load_u8(&mut self, to: Register, base: Register, offset: i16) {
        self.write(LOAD_U8, (to as u8, base as u8), offset, 0);
    }

    pub(super) fn load_u32(&mut self, to: Register, base: Register, offset: i16) {
        self.write(LOAD_U32, (to as u8, base as u8), offset, 0);
    }

    pub(super) fn load_u64(&mut self, to: Register, base: Register, offset: i16) {
        self.write(LOAD_U64, (to as u8, base as u8), offset, 0);
    }

    pub(super) fn store_u32(&mut self, base: Register, offset: i16, from: Register) {
        self.write(STORE_U32, (base as u8, from as u8), offset, 0);
    }

    pub(super) fn store_number_u32(&mut self, base: Register, offset: i16, number: i32) {
        self.write(STORE_NUMBER_U32, (base as u8, 0), offset, number);
    }

    /// Adds `amount` to the 64-bit word at `base`; `amount` then holds what was there before.
    pub(super) fn fetch_and_add(&mut self, base: Register, amount: Register) {
        self.write(ATOMIC_U64, (base as u8, amount as u8), 0, FETCH_AND_ADD);
    }

    pub(super) fn map(&mut self, to: Register, map: BorrowedFd<'_>) {
        self.long(to, MAP, map);
    }

    /// The address of the value of a map that has only one.
    pub(super) fn value_of_map(&mut self, to: Register, map: BorrowedFd<'_>) {
        self.long(to, VALUE_OF_MAP, map);
    }

    pub(super) fn jump_if_above(&mut self, left: Register, right: Register, label: Label) {
        let registers = (left as u8, right as u8);
        self.jump(JUMP_ABOVE_REGISTER, registers, 0, label);
    }

    pub(super) fn jump_if_above_number(&mut self, left: Register, number: i32, label: Label) {
        self.jump(JUMP_ABOVE, (left as u8, 0), number, label);
    }

    pub(super) fn jump_if_equal(&mut self, left: Register, number: i32, label: Label) {
        self.jump(JUMP_EQUAL, (left as u8, 0), number, label);
    }

    pub(super) fn jump_if_any_bit(&mut self, left: Register, bits: i32, label: Label) {
        self.jump(JUMP_ANY_BIT, (left as u8, 0), bits, label);
    }

    pub(super) fn call(&mut self, helper: i32) {
        self.write(CALL, (0, 0), 0, helper);
    }

    /// Ends with `answer`.
    pub(super) fn exit(&mut self, answer: i32) {
        self.set(R0, answer);
        self.write(EXIT, (0, 0), 0, 0);
    }

    /// What follows is where jumps to this label lead.
    pub(super) fn label(&mut self, label: Label) {
        self.labels.insert(label, self.written.len());
    }

    /// Returns the program, its jumps resolved.
    pub(super) fn assemble(mut self) -> Vec<Instruction> {
        for (place, label) in self.jumps {
            let target = self.labels.get(&label).copied();
            let target = target.expect("every label is set in the one program there is");
            // Counted from the instruction behind the jump; all jumps lead forward.
            let distance = i16::try_from(target - place - 1);
            self.written[place].offset = distance.expect("the program is short");
        }
        self.written
    }

    fn jump(&mut self, code: u8, registers: (u8, u8), immediate: i32, label: Label) {
        self.jumps.push((self.written.len(), label));
        self.write(code, registers, 0, immediate);
    }

    /// A number of 64 bits takes two places; of a map's, only the first says anything.
    fn long(&mut self, to: Register, kind: u8, map: BorrowedFd<'_>) {
        self.write(LOAD_LONG, (to as u8, kind), 0, map.as_raw_fd());
        self.write(0, (0, 0), 0, 0);
    }

    fn write(&mut self, code: u8, (target, source): (u8, u8), offset: i16, immediate: i32) {
        let registers = source << 4 | target;
        self.written.push(Instruction {
            code,
            registers,
            offset,
            immediate,
        });
    }
}
