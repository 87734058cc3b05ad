package hidden

type Config struct{ Depth int }

func (c *Config) Set(depth int) { c.Depth = depth }

type Log struct{ lines []string }

func (l *Log) Print(line string) { l.lines = append(l.lines, line) }

type Unreachable struct{ Field int }
