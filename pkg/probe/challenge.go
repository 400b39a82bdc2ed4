package probe

import "strings"

// challenge is one WWW-Authenticate of a registry (RFC 9110, 11.6.1).
type challenge struct {
	scheme     string // bearer or basic, in lower case
	parameters map[string]string
}

// challenges reads the headers. One value may hold several challenges; a comma within quotes is none between them. What does not parse
// is left out, as the runtimes do.
func challenges(headers []string) (all []challenge) {
	for _, text := range headers {
		for text = strings.TrimLeft(text, ", \t"); text != ""; text = strings.TrimLeft(text, ", \t") {
			var word string
			if word, text = token(text); word == "" {
				break
			}
			c := challenge{scheme: strings.ToLower(word), parameters: make(map[string]string)}
			for text = strings.TrimLeft(text, ", \t"); ; text = strings.TrimLeft(text, ", \t") {
				key, rest := token(text)
				rest = strings.TrimLeft(rest, " \t")
				if key == "" || !strings.HasPrefix(rest, "=") {
					break // the next challenge, or the end
				}
				c.parameters[strings.ToLower(key)], text = value(strings.TrimLeft(rest[1:], " \t"))
			}
			all = append(all, c)
		}
	}
	return all
}

// token takes a word (RFC 9110, 5.6.2) off the front of a text.
func token(text string) (word, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// value takes a word or a quoted string off the front of a text. A quote that does not end goes to the end.
func value(text string) (v, rest string) {
	if !strings.HasPrefix(text, `"`) {
		// Some registries leave the quotes out where a URL would want them.
		end := strings.IndexAny(text, ", \t")
		if end < 0 {
			return text, ""
		}
		return text[:end], text[end:]
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case '"':
			return b.String(), text[i+1:]
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), ""
}
