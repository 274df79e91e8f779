/* The waiting protocol of a ring: spec/memory.md, 5.6 and 5.7, and how package ring waits (hear). Two sides, and on each a reader and a
 * writer, who share the connection. What SPIN finds here as an invalid end state is a lost wake-up or a deadlock.
 *
 * Every step that touches what another process sees is a statement of its own, as in the code every such access is atomic, and in one order for all
 * (sync/atomic). Bytes are only counted.
 *
 * tools/model-check runs this, and then each MUTANT, a mistake that it must find:
 *   1  a reader parks without the second look (R3)
 *   2  a writer looks at parked before it sets head (W6 before W1)
 *   3  after a bell for nothing a reader waits on with the same odd value (no R5)
 *   4  who reads the connection does not wake the other one of its side
 *   5  who gets the turn does not look at its token first
 *   6  a reader looks at waiting before it sets its tail (R6 before R1)
 *   7  the token is given after the turn
 *   8  a reader begins to wait in a futex without the kernel's look at head
 *   9  a futex that woke nobody uses up the value, as a bell does, which is not lost
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef THERE
#define THERE 3 /* bytes from side 0 to side 1 */
#endif
#ifndef BACK
#define BACK 1 /* and back */
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#define TOTAL(side) (side == 0 -> THERE : BACK)
#define BELLS 4 /* that the connection holds; who rings waits behind that */

#define you (1 - me)
#define odd(e) ((e) % 2 == 1)

/* The areas: each field is written by side [i] alone. */
byte head[2], tail[2], parked[2], waiting[2];
/* The connection: what side [i] is to hear. */
chan bell[2] = [BELLS] of { bit };
/* Side [i]'s reader waits in a futex. In the code that ends after a while; here it does not, or nothing would be found out. */
bit asleep[2];
/* Of each side alone: who reads the connection, and the tokens. */
bit turn[2], data[2], room[2];

/* hear: wait until something may have come. mine and other are the tokens. */
inline hear(mine, other) {
	if
	:: atomic { mine -> mine = 0 }
	:: atomic { turn[me] == 0 -> turn[me] = 1 };
		if
#if MUTANT != 5
		:: atomic { mine -> mine = 0 }
		:: atomic { !mine -> skip };
#else
		:: true ->
#endif
			bell[me]?_;
#if MUTANT != 4 && MUTANT != 7
			other = 1
#endif
		fi;
		turn[me] = 0;
#if MUTANT == 7
		other = 1
#endif
	fi
}

proctype Writer(bit me) {
	byte seen, e, rung;
	do
	:: head[me] == TOTAL(me) -> break
	:: else ->
		seen = tail[you];
		if
		:: head[me] - seen < WINDOW ->
#if MUTANT == 2
			e = parked[you];
			head[me] = head[me] + 1;
#else
W1:			head[me] = head[me] + 1;
			e = parked[you];
#endif
W6:			if
			:: e % 4 == 3 && e != rung ->
#if MUTANT == 9
				atomic { rung = e; asleep[you] = 0; e = 0; seen = 0 }
#else
				atomic { if :: asleep[you] -> asleep[you] = 0; rung = e :: else fi; e = 0; seen = 0 }
#endif
			:: e % 4 == 1 && e != rung -> atomic { rung = e; e = 0; seen = 0 }; bell[you]!1
			:: else -> atomic { e = 0; seen = 0 }
			fi
		:: else ->
W2:			waiting[me] = waiting[me] + 1;
W3:			if
			:: tail[you] == seen ->
W4:				hear(room[me], data[me])
			:: else
			fi;
W5:			atomic { waiting[me] = waiting[me] + 1; seen = 0 }
		fi
	od
}

proctype Reader(bit me) {
	byte n, k, e, rung;
	do
	:: tail[me] == TOTAL(you) -> break
	:: else ->
R1:		n = head[you] - tail[me];
		if
		:: n > 0 ->
			atomic { select(k : 1 .. n) };
#if MUTANT == 6
			e = waiting[you];
			tail[me] = tail[me] + k;
#else
			tail[me] = tail[me] + k;
			e = waiting[you];
#endif
R6:			if
			:: odd(e) && e != rung && n - k <= WINDOW / 2 -> atomic { rung = e; e = 0; n = 0; k = 0 }; bell[you]!1
			:: else -> atomic { e = 0; n = 0; k = 0 }
			fi
		:: else ->
			if
			:: true -> /* nap */
R2F:			parked[me] = parked[me] + 3;
R3F:			if
				:: head[you] == tail[me] ->
#if MUTANT == 8
R4F:				asleep[me] = 1;
#else
R4F:				atomic { if :: head[you] == tail[me] -> asleep[me] = 1 :: else fi };
#endif
					asleep[me] == 0
				:: else
				fi;
R5F:			parked[me] = parked[me] + 1
			:: true -> /* or park */
R2:			parked[me] = parked[me] + 1;
#if MUTANT == 1
			hear(data[me], room[me]);
#elif MUTANT == 3
			do
			:: head[you] == tail[me] -> hear(data[me], room[me])
			:: else -> break
			od;
#else
R3:			if
			:: head[you] == tail[me] ->
R4:				hear(data[me], room[me])
			:: else
			fi;
#endif
R5:			parked[me] = (parked[me] | 3) + 1
			fi
		fi
	od
}

init {
	atomic {
		run Writer(0);
		run Reader(0);
		run Writer(1);
		run Reader(1)
	}
}
