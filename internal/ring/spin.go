package ring

import (
	"runtime"
	"time"
)

// spinner decides how long to look for what the other side is about to do, before this side parks. To be woken costs tens of
// microseconds; to look costs a core that somebody else may want. So it looks only while it has paid lately.
type spinner struct {
	pure    time.Duration // looking without giving the processor away
	credit  int           // what looks have paid lately
	skipped int           // waits without a look
	given   int           // looks, one after the other, that paid when the processor had been given away: both sides may be on one
	busy    bool          // somebody else wants the processor,
	banned  time.Duration // until then, since epoch
	ban     time.Duration
}

const (
	mostSpin    = 120 * time.Microsecond
	mostPure    = 5 * time.Microsecond
	firstLooks  = 96 // before the clock is read: that can take as long as several looks
	looksAtOnce = 32 // from then on, between two readings
	mostCredit  = 32
	lossOfOne   = 1                      // of credit, for a look in vain
	probeAt     = 32                     // every so many waits without a look, one looks again
	oneCPU      = 4                      // of given: the processor is given away at once,
	probeCPU    = 64                     // but for every so many looks
	stolen      = 500 * time.Microsecond // between two looks: somebody else had the processor, for a whole slice of time
	leastBan    = 10 * time.Millisecond
	calmBans    = 16 // so many times as long without a theft, and the next ban is the least
	mostBan     = 640 * time.Millisecond
)

// epoch is what times count from: to read the clock for a difference takes half of what it takes to read all of it.
var epoch = time.Now()

func (s *spinner) init() {
	if runtime.NumCPU() > 1 {
		s.pure = mostPure
	}
	s.credit = mostCredit / 2
}

// spin looks until ready, or until it does not pay any more: false.
func (s *spinner) spin(ready func() bool) bool {
	if s.busy = s.busy && time.Since(epoch) < s.banned; s.busy {
		return ready()
	}
	pure := s.pure
	if s.given >= oneCPU && s.given%probeCPU != 0 {
		pure = 0
	}
	for range firstLooks {
		if ready() {
			s.given = 0
			return true
		}
		if pure == 0 {
			break
		}
		pause()
	}
	if s.credit <= 0 {
		if s.skipped++; s.skipped < probeAt {
			return false
		}
	}
	s.skipped = 0
	start := time.Since(epoch)
	last := time.Duration(0)
	for i := 1; ; i++ {
		if ready() {
			s.credit = min(s.credit+1, mostCredit)
			if s.given++; last < pure {
				s.given = 0
			}
			return true
		}
		if last < pure {
			pause()
			if i%looksAtOnce != 0 {
				continue
			}
		} else {
			osYield() // other processes; Gosched would wake a thread of this one, which takes the peer's processor
		}
		now := time.Since(epoch) - start
		if now-last > stolen {
			if s.ban = min(2*s.ban, mostBan); start-s.banned > calmBans*s.ban {
				s.ban = leastBan // the last one is long ago
			}
			s.busy, s.banned = true, start+now+s.ban
			return ready()
		}
		if last = now; now > mostSpin {
			s.credit = max(s.credit-lossOfOne, 0)
			return false
		}
	}
}
