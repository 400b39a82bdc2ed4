package registries

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Proxying is what is known of the HTTP proxy of the runtime.
type Proxying struct {
	// Known is false where the runtime's environment could not be read: then a failure of the network proves nothing.
	Known bool
	// Source is where it is known from, or why it is not.
	Source string
	// For is the proxy for a URL, as net/http's ProxyFromEnvironment, which both runtimes use, gives it; nil is none.
	For func(*url.URL) (*url.URL, error)
	// Secrets are what of the proxies' URLs must be in no text: users and passwords.
	Secrets []string
}

// NoProxying is for an operator who says that there is none.
func NoProxying(source string) Proxying { return Proxying{Known: true, Source: source} }

// ProxyFromEnvironment reads the variables that net/http reads, in its order: upper case first.
func ProxyFromEnvironment(getenv func(string) string, source string) Proxying {
	either := func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return getenv(strings.ToLower(name))
	}
	config := httpproxy.Config{HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY")}
	p := Proxying{Known: true, Source: source}
	if config.HTTPProxy == "" && config.HTTPSProxy == "" {
		return p
	}
	for _, text := range []string{config.HTTPProxy, config.HTTPSProxy} {
		p.Secrets = append(p.Secrets, userOf(text)...)
	}
	choose := config.ProxyFunc()
	p.For = func(u *url.URL) (*url.URL, error) {
		proxy, err := choose(u)
		if err != nil { // its text quotes the URL, password and all
			return nil, fmt.Errorf("the proxy for %s is no URL (%s)", u.Scheme, source)
		}
		return proxy, nil
	}
	return p
}

// userOf is what of a proxy's URL is secret. It reads what is no URL too, since that is what ends up in errors.
func userOf(text string) (secrets []string) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return nil
	}
	user := text[:at]
	if i := strings.Index(user, "://"); i >= 0 {
		user = user[i+3:]
	}
	secrets = append(secrets, user)
	if _, password, ok := strings.Cut(user, ":"); ok {
		secrets = append(secrets, password)
		if plain, err := url.PathUnescape(password); err == nil && plain != password {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}
