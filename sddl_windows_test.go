package standpipe

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestEvaluator holds the portable evaluator, by which the vectors are tested everywhere, to what Windows says.
func TestEvaluator(t *testing.T) {
	tokens := []windows.Token{ownToken(t), ownToken(t, sidAdministrators)}
	who := []string{currentUser(), sidSystem, "S-1-5-19", sidAdministrators, "S-1-5-32-545", "S-1-5-11", "WD", "NU"}
	rights := []string{"FA", "0x12019b"}
	granted := map[bool]int{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var s strings.Builder
		// Owners have READ_CONTROL and WRITE_DAC without an entry, which the evaluator leaves out: so a stranger owns it.
		s.WriteString("O:S-1-5-19D:P")
		// Denials first, as this package has them: in Wine also one that comes later takes back what was granted.
		for _, n := range []struct {
			kind string
			most int
		}{{"D", 2}, {"A", 4}} {
			for range r.IntN(n.most) {
				fmt.Fprintf(&s, "(%s;;%s;;;%s)", n.kind, rights[r.IntN(2)], who[r.IntN(len(who))])
			}
		}
		sd, err := userDescriptor(s.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range tokens {
			id, err := tokenIdentity(token)
			if err != nil {
				t.Fatal(err)
			}
			for _, mask := range []uint32{clientAccess, clientAccess | windows.FILE_APPEND_DATA} {
				want, err := accessCheck(token, sd, mask)
				if err != nil {
					t.Fatal(err)
				}
				if got := sddlGrants(s.String(), id.User, id.Groups, mask); got != want {
					t.Fatalf("%s, %#x, of %v: the evaluator says %v, Windows %v", &s, mask, id.Groups, got, want)
				}
				granted[want]++
			}
		}
	}
	if granted[true] < 100 || granted[false] < 100 {
		t.Errorf("one-sided: %v", granted)
	}
}
