package route

import "bytes"

// fieldConditions are the header conditions of all routes in a list. Each pair of name and value has a number.
type fieldConditions map[string]map[string]int // lower-case name → value → number

func (f fieldConditions) add(name, value string, next *int) (number int) {
	values := f[name]
	if values == nil {
		values = map[string]int{}
		f[name] = values
	}
	number, known := values[value]
	if !known {
		number = *next
		*next++
		values[value] = number
	}
	return number
}

// met marks in s.met the conditions that the fields of a request meet. It reads the fields once.
func (f fieldConditions) met(s *Scratch, r *Request, conditions int) {
	words := (conditions + 63) / 64
	if cap(s.met) < words {
		s.met = make([]uint64, words)
	}
	s.met = s.met[:words]
	clear(s.met)
	for rest := r.Fields; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok {
			f.mark(s, name, bytes.Trim(value, " \t\r"))
		}
	}
	if len(r.Upgrade) > 0 {
		f.mark(s, []byte("upgrade"), r.Upgrade)
	}
}

func (f fieldConditions) mark(s *Scratch, name, value []byte) {
	s.name = s.name[:0]
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.name = append(s.name, c)
	}
	if number, ok := f[string(s.name)][string(value)]; ok {
		s.met[number/64] |= 1 << (number % 64)
	}
}
