package standpipe

import (
	"slices"
	"strconv"
	"strings"
)

// sddlGrants is a small AccessCheck: whether a DACL, as this package writes it, gives a token all of mask. Entries count in
// their order, and what was granted before a denial stays granted ("How AccessCheck Works", learn.microsoft.com).
func sddlGrants(sddl string, user string, groups []string, mask uint32) bool {
	short := map[string]string{"WD": "S-1-1-0", "NU": "S-1-5-2", "SY": "S-1-5-18", "BA": "S-1-5-32-544"}
	_, dacl, found := strings.Cut(sddl, "D:P")
	if !found {
		return false
	}
	for ace := range strings.SplitSeq(dacl, ")") {
		f := strings.Split(strings.TrimPrefix(ace, "("), ";")
		if len(f) != 6 || f[1] != "" {
			continue
		}
		rights := uint32(0x1f01ff) // FA
		if f[2] != "FA" {
			n, err := strconv.ParseUint(f[2], 0, 32)
			if err != nil {
				return false
			}
			rights = uint32(n)
		}
		sid := f[5]
		if long, ok := short[sid]; ok {
			sid = long
		}
		if sid != user && !slices.Contains(groups, sid) {
			continue
		}
		switch {
		case f[0] == "D" && rights&mask != 0:
			return false
		case f[0] == "A":
			mask &^= rights
		}
		if mask == 0 {
			return true
		}
	}
	return false
}

// modeGrants says whether a client may connect to a socket file: the first class that is the client's decides.
func modeGrants(a unixAccess, user string, groups []string) bool {
	switch {
	case user == "0":
		return true
	case user == a.owner:
		return a.mode&0o200 != 0
	case slices.Contains(groups, a.group):
		return a.mode&0o020 != 0
	}
	return a.mode&0o002 != 0
}
