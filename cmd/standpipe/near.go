package main

import (
	"fmt"
	"slices"
	"strings"
)

// near are those of names that may have been meant by word, the nearest first.
func near(word string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var list []candidate
	for _, name := range names {
		a, b := strings.ToLower(word), strings.ToLower(name)
		far := edits(a, b)
		switch {
		case far <= max(1, len(word)/3):
		case len(a) >= 3 && (strings.Contains(b, a) || strings.Contains(a, b) && len(b) >= 3):
			far += 100 // behind those that are only spelled wrong
		default:
			continue
		}
		list = append(list, candidate{name, far})
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.far - b.far })
	var nearest []string
	for _, c := range list[:min(len(list), 3)] {
		nearest = append(nearest, c.name)
	}
	return nearest
}

// suggest is what an error says of names that are near: "; did you mean X?", or nothing.
func suggest(word string, names []string) string {
	found := near(word, names)
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(found, " or "))
}

// edits is how many letters are to be put in, taken out, changed, or exchanged with the next, to make b of a.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			least := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				least = min(least, rows[i-2][j-2]+1)
			}
			rows[i][j] = least
		}
	}
	return rows[len(x)][len(y)]
}
