package paths

import "bytes"

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// isID reports whether a segment is clearly an identifier, or a value that is just as private, rather than a name.
func isID(s []byte) bool {
	if len(s) == 0 {
		return false
	}
	digits, letters, escapes := 0, 0, false
	for i, c := range s {
		switch {
		case isDigit(c):
			digits++
		case isLetter(c):
			letters++
		case c == '@' && i > 0 && i < len(s)-1:
			return true // an e-mail address or a handle with a domain
		case c == '%':
			escapes = true
		}
	}
	if escapes && (hasEscape(s, '@') || hasEscape(s, '/')) {
		return true // an escaped separator, which occurs in values but not in route names
	}
	if digits == len(s) {
		return true
	}
	if isScrambled(s, letters, digits) {
		return true
	}
	if digits == 0 {
		return false // names consist of letters; words like "facade" or "deadbeef" are kept
	}
	return isNumeric(s) || isHexID(s) || isUUID(s) || isULID(s) || isToken(s)
}

// hasEscape reports whether the segment contains c in percent-encoded form.
func hasEscape(s []byte, c byte) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && s[i+1] == upperHex[c>>4] && s[i+2]&^0x20 == upperHex[c&15]&^0x20 {
			return true
		}
	}
	return false
}

// Thresholds of isScrambled.
const (
	scrambledMin = 16 // bytes
	unbrokenMax  = 48 // bytes without a separator; longer runs are not names
	caseTurnsMin = 6  // minimum number of changes between upper and lower case: more than in camel case,
	caseTurnsPer = 5  // … and at least one change in this many letters
	lettersMin   = 20 // minimum number of letters of one case to be judged by their vowels
	vowelsPer    = 4  // words have more than one vowel in this many letters
)

// isScrambled recognizes secrets, even those without digits: base64, keys in capitals, random letters.
func isScrambled(s []byte, letters, digits int) bool {
	if len(s) < scrambledMin {
		return false
	}
	run, longest, turns, vowels := 0, 0, 0, 0
	for i, c := range s {
		if !isLetter(c) && !isDigit(c) {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
		if i > 0 && isLetter(c) && isLetter(s[i-1]) && (c^s[i-1])&0x20 != 0 {
			turns++
		}
		switch c | 0x20 {
		case 'a', 'e', 'i', 'o', 'u', 'y':
			vowels++
		}
	}
	switch {
	case longest >= unbrokenMax:
		return letters+digits > 0 && vowels < letters // text that consists only of vowels, such as one repeated letter, is not scrambled
	case longest >= scrambledMin && turns >= caseTurnsMin && turns*caseTurnsPer >= longest:
		return true
	case longest >= lettersMin && digits == 0 && turns == 0:
		return vowels*vowelsPer < letters
	}
	// Keys such as AKIA… consist only of capitals.
	return longest == len(s) && letters > 0 && turns == 0 && s[0]&0x20 == 0 && isLetter(s[0])
}

// isNumeric recognizes signed and decimal numbers, dates, times, version numbers and coordinates: groups of digits that
// start with a digit or a sign. The only letters it allows are the T and Z of a timestamp.
func isNumeric(s []byte) bool {
	if s[0] == '-' || s[0] == '+' {
		s = s[1:]
	}
	if len(s) == 0 || !isDigit(s[0]) {
		return false
	}
	for i, c := range s {
		switch {
		case isDigit(c), c == '-', c == '.', c == ':', c == ',', c == '_', c == '+':
		case c == 'T' || c == 't':
			if i < 8 || i+1 == len(s) || !isDigit(s[i-1]) || !isDigit(s[i+1]) {
				return false
			}
		case c == 'Z' || c == 'z':
			if i < 8 || i+1 != len(s) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isDate recognizes 2006-01-02.
func isDate(s []byte) bool {
	if len(s) != len("2006-01-02") {
		return false
	}
	for i, c := range s {
		if i == 4 || i == 7 {
			if c != '-' {
				return false
			}
		} else if !isDigit(c) {
			return false
		}
	}
	return true
}

// isLocale recognizes the code of a language, a country, or both ("de", "pt-BR").
func isLocale(s string) bool {
	if len(s) != 2 && (len(s) != 5 || s[2] != '-' && s[2] != '_') {
		return false
	}
	for i := range len(s) {
		if i != 2 && !isLetter(s[i]) {
			return false
		}
	}
	return true
}

// isHexID recognizes eight or more hex digits. The caller has checked that one of them is a decimal digit.
func isHexID(s []byte) bool {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		s = s[2:]
	}
	if len(s) < 8 {
		return false
	}
	for _, c := range s {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// isUUID recognizes 8-4-4-4-12 hex digits.
func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}

// isULID recognizes 26 characters of Crockford's base 32, of which the first is at most 7.
func isULID(s []byte) bool {
	if len(s) != 26 || s[0] < '0' || s[0] > '7' {
		return false
	}
	for _, c := range s {
		if !isDigit(c) && (!isLetter(c) || bytes.IndexByte([]byte("ilou"), c|0x20) >= 0) {
			return false
		}
	}
	return true
}

// Thresholds of isToken: the minimum length of a token, and its minimum number of changes between letters and digits.
// Words that contain a number or two ("sha256-checksums", "how-to-2024-edition") change less often than random text.
const (
	tokenBytesMin     = 16
	tokenChangesMin   = 4
	tokenLongBytesMin = 32
	tokenLongChanges  = 3
)

// isToken recognizes long random text (base64url, base62, prefixed keys, JWTs) by the number of times that it changes between letters and
// digits without a separator.
func isToken(s []byte) bool {
	if len(s) < tokenBytesMin {
		return false
	}
	changes := 0
	for i, c := range s {
		switch {
		case isDigit(c):
			if i > 0 && isLetter(s[i-1]) {
				changes++
			}
		case isLetter(c):
			if i > 0 && isDigit(s[i-1]) {
				changes++
			}
		case c == '-', c == '_', c == '.', c == '~', c == '=', c == '+', c == ':':
		default:
			return false // percent-encoded text, file names with spaces and similar texts are names
		}
	}
	return changes >= tokenChangesMin || (len(s) >= tokenLongBytesMin && changes >= tokenLongChanges)
}
