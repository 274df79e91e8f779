package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
)

// screen is top in a terminal.
type screen struct {
	w    *watching
	ctx  context.Context
	last view
	err  error // of the last look; the one before it stays on the screen
	look int   // looks so far

	held          bool
	by            int // of orders
	top           int // lines that are scrolled over
	width, height int
}

// looked is what a look has found.
type looked struct {
	view view
	err  error
}

// again: it is time for the next look.
type again struct{}

var colours = paint{
	title: styled(lipgloss.NewStyle().Bold(true)),
	head:  styled(lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Cyan)),
	dim:   styled(lipgloss.NewStyle().Faint(true)),
	bad:   styled(lipgloss.NewStyle().Foreground(lipgloss.Red)),
}

func styled(s lipgloss.Style) func(string) string {
	return func(text string) string { return s.Render(text) }
}

// onScreen runs until somebody ends it. A server that can't be asked at all is an error before the screen is taken.
func (w *watching) onScreen(cmd *cobra.Command) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel() // a look that is under way
	first, err := w.look(ctx)
	if err != nil {
		return err
	}
	in, _ := screenOf(cmd)
	s := &screen{w: w, ctx: ctx, last: first}
	_, err = tea.NewProgram(s, tea.WithContext(cmd.Context()), tea.WithInput(keysOf(in)), tea.WithOutput(cmd.OutOrStdout()), tea.WithoutSignalHandler()).Run()
	if cause := cmd.Context().Err(); cause != nil {
		return cause
	}
	if errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}

// Init is a method of tea.Model, as the next two.
func (s *screen) Init() tea.Cmd { return s.pause() }

func (s *screen) pause() tea.Cmd {
	return tea.Tick(s.w.interval, func(time.Time) tea.Msg { return again{} })
}

func (s *screen) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	switch m := m.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case again:
		if s.held {
			return s, s.pause()
		}
		return s, func() tea.Msg {
			v, err := s.w.look(s.ctx)
			return looked{v, err}
		}
	case looked:
		s.look++
		if s.err = m.err; m.err == nil {
			s.last = m.view
		}
		return s, s.pause()
	case tea.KeyPressMsg:
		return s, s.key(m.String())
	}
	return s, nil
}

func (s *screen) key(name string) tea.Cmd {
	page := max(s.height-2, 1)
	switch name {
	case "q", "ctrl+c", "esc":
		return tea.Quit
	case "space":
		s.held = !s.held
	case "s":
		s.by = (s.by + 1) % len(orders)
	case "up", "k":
		s.top--
	case "down", "j":
		s.top++
	case "pgup":
		s.top -= page
	case "pgdown":
		s.top += page
	case "home":
		s.top = 0
	}
	return nil
}

func (s *screen) View() tea.View {
	v := tea.NewView(strings.Join(s.lines(), "\n"))
	v.AltScreen = true
	return v
}

// lines are what fits on the screen: a part of the view, and a line about the keys at the bottom.
func (s *screen) lines() []string {
	o := colours
	o.order = orders[s.by]
	all := s.last.text(&o)
	room := len(all)
	if s.height > 0 {
		room = max(s.height-1, 1)
	}
	s.top = max(min(s.top, len(all)-room), 0)
	shown := all[s.top:min(s.top+room, len(all))]
	lines := make([]string, 0, room+1)
	for _, line := range shown {
		lines = append(lines, s.fit(line))
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	return append(lines, s.fit(s.status(&o, len(all)-s.top-len(shown))))
}

// fit cuts what would go beyond the right edge.
func (s *screen) fit(line string) string {
	if s.width == 0 {
		return line
	}
	return lipgloss.NewStyle().MaxWidth(s.width).Render(line)
}

func (s *screen) status(o *paint, below int) string {
	var parts []string
	if s.err != nil {
		parts = append(parts, o.use(o.bad, plain(s.err.Error())))
	}
	if s.held {
		parts = append(parts, o.use(o.title, "held"))
	}
	if below > 0 {
		parts = append(parts, fmt.Sprintf("%d lines below", below))
	}
	keys := fmt.Sprintf("q ends, space holds, s sorts (now by %s)", o.order)
	return strings.Join(append(parts, o.use(o.dim, keys)), "  ")
}
