package configs

import (
	"fmt"
	"slices"
	"strings"
)

// check defines which values a key accepts. The zero check accepts all values of the key's type.
type check struct {
	allowed string                 // the range, for the documentation
	problem func(field any) string // says what is wrong with the value of a field and what to do; empty if nothing is wrong
}

// number is a type whose values have a range.
type number interface {
	int | Duration | Bytes | Percent
}

// atLeast rejects smaller values.
func atLeast[T number](least T) check {
	c := check{problem: func(field any) string {
		if value := *field.(*T); value < least { //nolint:forcetypeassert // TestTableCoversConfig checks each key's default
			return fmt.Sprintf("%v is too small: the minimum is %v", value, least)
		}
		return ""
	}}
	if least > 0 {
		c.allowed = fmt.Sprintf("at least %v", least)
	}
	return c
}

// between rejects values outside the two limits.
func between[T number](least, most T) check {
	return check{fmt.Sprintf("%v to %v", least, most), func(field any) string {
		if value := *field.(*T); value > most { //nolint:forcetypeassert // as above
			return fmt.Sprintf("%v is too large: the maximum is %v", value, most)
		}
		return atLeast(least).problem(field)
	}}
}

// orZero returns a check that also accepts the duration 0, which means no limit.
func orZero(c check) check {
	return check{"0, or " + c.allowed, func(field any) string {
		if *field.(*Duration) == 0 { //nolint:forcetypeassert // as above
			return ""
		}
		return c.problem(field)
	}}
}

// ifSet applies a check to a pointer field, which is nil unless the key is set.
func ifSet[T Duration | Bytes](c check) check {
	return check{c.allowed, func(field any) string {
		value := *field.(**T) //nolint:forcetypeassert // as above
		if value == nil {
			return ""
		}
		return c.problem(value)
	}}
}

// segmentSize rejects sizes that are not a whole number of memory pages.
func segmentSize() check {
	c := between(64*KiB, 32*MiB)
	return check{c.allowed, func(field any) string {
		if size := *field.(*Bytes); size%(4*KiB) != 0 { //nolint:forcetypeassert // as above
			return fmt.Sprintf("%v is not a multiple of 4KiB: write 1MiB or another whole number of MiB", size)
		}
		return c.problem(field)
	}}
}

// textCheck returns a check for a string, or for each element of a list.
func textCheck(f func(string) string) check {
	return check{problem: func(field any) string { return f(*field.(*string)) }} //nolint:forcetypeassert // as above
}

// optional returns a check that also accepts the empty string.
func optional(f func(string) string) check {
	return textCheck(func(s string) string {
		if s == "" {
			return ""
		}
		return f(s)
	})
}

// oneOf rejects strings that are not listed.
func oneOf(values ...string) check {
	return textCheck(func(s string) string {
		if slices.Contains(values, s) {
			return ""
		}
		return fmt.Sprintf("%q is not one of %s", s, strings.Join(values, ", "))
	})
}

// checkFilled rejects an empty data directory.
func checkFilled(s string) string {
	if strings.TrimSpace(s) != "" {
		return ""
	}
	return "is empty: name a directory, such as ./wayside-data"
}
