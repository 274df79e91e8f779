package standpipe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Policy says which operating-system users may be at the other end. The zero Policy is the safe default of where it
// is used: in ListenConfig only the current user, in DialConfig the current user or the superuser.
//
// A Policy is enforced twice: by the kernel, through the endpoint's mode, owner and group or its security descriptor,
// and against the Identity of the peer, before the peer is handed to the program. It names exactly those who are
// admitted; the server's own user is not implied. spec/policy.md has the whole table.
//
// Names are looked up when the Policy is put to use, so a name that nobody has is an error of Listen and Dial. Besides
// names, numeric ids ("1000") and, on Windows, SIDs ("S-1-5-18") and DOMAIN\name are understood.
//
// A Policy is immutable and may be used by several goroutines at once.
type Policy struct {
	anyone bool
	self   bool // the current user, by word
	users  []string
	groups []string
	none   bool // names were asked for, and an empty list was given: that is not the zero Policy
}

// User admits the named users. Without a name it admits nobody, and is an error of Listen and Dial.
func User(names ...string) Policy { return Policy{users: slices.Clone(names), none: len(names) == 0} }

// Group admits every process that runs with one of the named groups. What counts are the groups of the process, not
// what the user database says of its user.
func Group(names ...string) Policy { return Policy{groups: slices.Clone(names), none: len(names) == 0} }

// Anyone admits every user of this machine. It still keeps out the network.
func Anyone() Policy { return Policy{anyone: true} }

// Superuser admits who may do anything: root; on Windows SYSTEM, and what the Administrators own.
func Superuser() Policy { return superuser() }

// ParsePolicy reads "self", "anyone", or a list such as "user:alice,group:video,self". It is the inverse of String. The
// error says which word was not understood; whether the names exist is seen when the Policy is used.
func ParsePolicy(s string) (Policy, error) {
	var p Policy
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		kind, name, _ := strings.Cut(word, ":")
		switch {
		case word == "self":
			p.self = true
		case word == "anyone":
			p.anyone = true
		case kind == "user" && name != "":
			p.users = append(p.users, name)
		case kind == "group" && name != "":
			p.groups = append(p.groups, name)
		default:
			return Policy{}, fmt.Errorf("standpipe: policy %q: %q is not self, anyone, user:NAME or group:NAME", s, word)
		}
	}
	return p, nil
}

// Or admits whom p admits and whom q admits. A zero Policy stands for "self" here.
func (p Policy) Or(q Policy) Policy {
	return Policy{
		anyone: p.anyone || q.anyone,
		self:   p.self || q.self || p.isZero() || q.isZero(),
		users:  slices.Concat(p.users, q.users),
		groups: slices.Concat(p.groups, q.groups),
		none:   p.none || q.none,
	}
}

// Admits says whether a process with this Identity is admitted. Names that can't be looked up admit nobody. A zero
// Policy stands for "self".
func (p Policy) Admits(id Identity) bool {
	var g guard
	for _, word := range p.words() {
		_ = g.add(word)
	}
	return g.admits(id)
}

// String is the text that ParsePolicy reads.
func (p Policy) String() string {
	words := p.words()
	if len(words) == 0 {
		return "nobody" // which ParsePolicy does not take, as nothing does
	}
	return strings.Join(words, ",")
}

func (p Policy) isZero() bool {
	return !p.none && !p.anyone && !p.self && len(p.users) == 0 && len(p.groups) == 0
}

// words are those of the text.
func (p Policy) words() []string {
	if p.isZero() {
		return []string{"self"}
	}
	var words []string
	if p.anyone {
		words = append(words, "anyone")
	}
	if p.self {
		words = append(words, "self")
	}
	for _, u := range p.users {
		words = append(words, "user:"+u)
	}
	for _, g := range p.groups {
		words = append(words, "group:"+g)
	}
	return words
}

// guard is a Policy whose names were looked up: numeric ids, or SIDs. Listeners and dialers keep one, so that a peer is
// checked without a look-up, and by what the names meant when the endpoint was made.
type guard struct {
	anyone bool
	users  []string
	groups []string
	text   string // the Policy, for errors
}

// compile looks up the names of p; where p is zero, def stands in for it.
func (p Policy) compile(def Policy) (*guard, error) {
	if p.isZero() {
		p = def
	}
	words := p.words()
	if len(words) == 0 {
		return nil, errors.New("the policy has an empty list of users or groups, and would admit nobody")
	}
	g := &guard{text: p.String()}
	for _, word := range words {
		if err := g.add(word); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// add looks up one word.
func (g *guard) add(word string) error {
	kind, name, _ := strings.Cut(word, ":")
	switch {
	case kind == "anyone":
		g.anyone = true
	case kind == "self":
		g.users = append(g.users, currentUser())
	case strings.Contains(name, ",") || strings.TrimSpace(name) != name:
		// A user database may have it, but the text of the policy would mean something else.
		return fmt.Errorf("policy %q: a name can't have a comma, or begin or end with a space", word)
	case kind == "user":
		id, err := lookupUser(name)
		if err != nil {
			return fmt.Errorf("policy %q: %w", word, err)
		}
		g.users = append(g.users, id)
	default:
		id, err := lookupGroup(name)
		if err != nil {
			return fmt.Errorf("policy %q: %w", word, err)
		}
		g.groups = append(g.groups, id)
	}
	return nil
}

func (g *guard) admits(id Identity) bool {
	if id.User == "" {
		return false // the kernel did not say who it is
	}
	if g.anyone || slices.Contains(g.users, id.User) {
		return true
	}
	// On Windows the owner of a pipe may be a group, such as the Administrators.
	if slices.Contains(g.groups, id.User) && strings.HasPrefix(id.User, "S-1-") {
		return true
	}
	return slices.ContainsFunc(id.Groups, func(group string) bool { return slices.Contains(g.groups, group) })
}

// onlyUser says whether nobody but this user is admitted.
func (g *guard) onlyUser(id string) bool {
	return !g.anyone && len(g.groups) == 0 && !slices.ContainsFunc(g.users, func(u string) bool { return u != id })
}

// check refuses a peer that is not admitted, and says who it is.
func (g *guard) check(id Identity, as error, who string) error {
	if g.admits(id) {
		return nil
	}
	return &fault{kind: as, found: func() string {
		return fmt.Sprintf("%s is %s, whom the policy %q does not admit", who, id, g.text)
	}}
}
