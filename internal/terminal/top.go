package terminal

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// TopOptions configure Top.
type TopOptions struct {
	Ask     Asker
	Address string        // address of the admin listener, shown at the top
	Every   time.Duration // time between updates; default 2s
	Window  string        // 1h, 24h (default), 7d or 30d
}

// Top shows the hot paths until the user quits or ctx is done.
func Top(ctx context.Context, o TopOptions) error {
	m, err := newModel(ctx, o)
	if err != nil {
		return err
	}
	if _, err := tea.NewProgram(m, tea.WithContext(ctx)).Run(); err != nil && !errors.Is(err, tea.ErrProgramKilled) && ctx.Err() == nil {
		return err
	}
	return nil
}

// WindowNames returns the values of TopOptions.Window.
func WindowNames() []string {
	names := make([]string, len(windows))
	for i, w := range windows {
		names[i] = w.name
	}
	return names
}

// column is a column by which rows can be sorted.
type column struct {
	name  string
	value func(*row) float64
}

var columns = []column{
	{"now", func(r *row) float64 { return r.now }},
	{"requests", func(r *row) float64 { return float64(r.Count) }},
	{"errors", func(r *row) float64 {
		if r.Count == 0 {
			return 0
		}
		return float64(r.Errors) / float64(r.Count)
	}},
	{"p50", func(r *row) float64 { return float64(r.Latency.P50) }},
	{"p95", func(r *row) float64 { return float64(r.Latency.P95) }},
	{"p99", func(r *row) float64 { return float64(r.Latency.P99) }},
}

// model is the state of the screen.
type model struct {
	ctx     context.Context // context of the program; used for requests
	o       TopOptions
	window  int
	oneHost bool // whether all rows have the same host
	sort    int  // index in columns
	rising  bool // smallest first
	paused  bool
	help    bool
	filter  string
	typing  bool
	at      int // index of the selected row
	chosen  rowName
	paths   *pathsAnswer
	recent  *recentAnswer
	rows    []row // filtered and sorted rows
	detail  *detail
	inside  bool // whether a path is shown
	failure string
	updated time.Time
	width   int
	height  int
}

func newModel(ctx context.Context, o TopOptions) (*model, error) {
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	m := &model{ctx: ctx, o: o, window: 1, sort: 1, width: 100, height: 30}
	if o.Window != "" {
		m.window = slices.Index(WindowNames(), o.Window)
		if m.window < 0 {
			return nil, errors.New("the window must be one of " + strings.Join(WindowNames(), ", "))
		}
	}
	return m, nil
}

// Messages of the program.
type (
	loaded struct {
		paths  *pathsAnswer
		recent *recentAnswer
		detail *detail
		err    error
	}
	tick struct{}
)

func (m *model) Init() tea.Cmd { return m.load() }

// load requests everything that the screen shows.
func (m *model) load() tea.Cmd {
	w, inside, name := windows[m.window], m.inside, m.chosen
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
		defer cancel()
		var l loaded
		if l.paths, l.recent, l.err = load(ctx, m.o.Ask, w); l.err == nil && inside {
			l.detail, l.err = loadDetail(ctx, m.o.Ask, w, name)
		}
		return l
	}
}

func (m *model) wait() tea.Cmd { return tea.Tick(m.o.Every, func(time.Time) tea.Msg { return tick{} }) }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		if m.paused {
			return m, m.wait()
		}
		return m, m.load()
	case loaded:
		m.take(msg)
		if msg.detail == nil && m.inside && msg.err == nil {
			return m, m.load() // the user has opened a path in the meantime
		}
		return m, m.wait()
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m *model) take(l loaded) {
	if l.err != nil {
		m.failure = l.err.Error()
		return
	}
	m.failure, m.updated = "", time.Now()
	m.paths, m.recent = l.paths, l.recent
	if l.detail != nil && l.detail.name == m.chosen {
		m.detail = l.detail
	}
	m.arrange()
}

// arrange filters and sorts the rows, and keeps the same row selected.
func (m *model) arrange() {
	if m.paths == nil {
		return
	}
	wanted := strings.ToLower(m.filter)
	m.rows, m.oneHost = m.rows[:0], true
	for _, r := range m.paths.Paths {
		if r.Count > 0 && strings.Contains(strings.ToLower(r.Method+" "+r.Host+r.Path), wanted) {
			m.rows = append(m.rows, r)
			m.oneHost = m.oneHost && r.Host == m.rows[0].Host
		}
	}
	value := columns[m.sort].value
	slices.SortStableFunc(m.rows, func(a, b row) int {
		order := cmp.Compare(value(&b), value(&a))
		if m.rising {
			order = -order
		}
		return cmp.Or(order, cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	if i := slices.IndexFunc(m.rows, func(r row) bool { return r.rowName == m.chosen }); i >= 0 {
		m.at = i
	}
	m.at = max(0, min(m.at, len(m.rows)-1))
}

func (m *model) choose(at int) {
	m.at = max(0, min(at, len(m.rows)-1))
	if len(m.rows) > 0 {
		m.chosen = m.rows[m.at].rowName
	}
}

// onceWidth is the width of the columns besides the path, for output that is not a terminal.
const onceWidth = 86

// widest returns the width of the longest path with its host. With that width, nothing is cut off. The length of paths is limited.
func (m *model) widest() (width int) {
	for i := range m.rows {
		r := &m.rows[i]
		width = max(width, ansi.StringWidth(Safe(r.Path)+m.host(r, func(_, text string) string { return text })+r.route()))
	}
	return width
}

// TopOnce writes the table once, without colors, for pipes and files.
func TopOnce(ctx context.Context, o TopOptions, out io.Writer) error {
	m, err := newModel(ctx, o)
	if err != nil {
		return err
	}
	paths, recent, err := load(ctx, o.Ask, windows[m.window])
	if err != nil {
		return err
	}
	m.take(loaded{paths: paths, recent: recent})
	m.at, m.width = -1, onceWidth+m.widest()
	lines := m.failing(false)
	if len(lines) > 0 {
		lines = append(lines, "")
	}
	for _, line := range append(lines, m.table(len(m.rows)+1)...) {
		if _, err := io.WriteString(out, strings.TrimRight(ansi.Strip(line), " ")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
