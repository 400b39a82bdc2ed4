package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// credentials are those of a registry, as crictl takes them. No error repeats them.
type credentials struct{ creds, auth, username string }

func (c *credentials) flags(f *pflag.FlagSet) {
	f.StringVar(&c.creds, "creds", "", "credentials for the registry, USER[:PASSWORD] (CRICTL_CREDS); a missing password is asked for")
	f.StringVar(&c.auth, "auth", "", "credentials for the registry, USER:PASSWORD in base64 (CRICTL_AUTH)")
	f.StringVarP(&c.username, "username", "u", "", "user at the registry, whose password is asked for on the terminal")
}

// read gives the credentials, nil where there are none.
func (c *credentials) read(ctx context.Context, p *program) (*runtimeapi.AuthConfig, error) {
	given := 0
	for _, text := range []string{c.creds, c.auth, c.username} {
		if text != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, nil
	case given > 1:
		return nil, &usageError{"credentials were given twice",
			"Give one of --creds, --auth and --username, and look at CRICTL_CREDS and CRICTL_AUTH."}
	case c.auth != "":
		pair, err := base64.StdEncoding.DecodeString(c.auth)
		if err != nil || !strings.Contains(string(pair), ":") {
			return nil, &usageError{"--auth is not USER:PASSWORD in base64", "Make it with: printf %s USER:PASSWORD | base64 -w0"}
		}
		return &runtimeapi.AuthConfig{Auth: c.auth}, nil
	}
	user, password, ok := c.username, "", false
	if c.creds != "" {
		user, password, ok = strings.Cut(c.creds, ":")
	}
	if user == "" {
		return nil, &usageError{"--creds has no user", "Write --creds USER:PASSWORD."}
	}
	if !ok {
		var err error
		if password, err = p.password(ctx, user); err != nil {
			return nil, err
		}
	}
	return &runtimeapi.AuthConfig{Username: user, Password: password}, nil
}

// password asks on the terminal, which does not show what is typed.
func (p *program) password(ctx context.Context, user string) (string, error) {
	missing := &usageError{fmt.Sprintf("no password for user %q", user),
		"Type it on a terminal, or write --creds USER:PASSWORD; CRICTL_CREDS keeps it off the command line."}
	if !isTerminal(p.stdin) {
		return "", missing
	}
	terminal := int(p.stdin.(*os.File).Fd())
	state, err := term.GetState(terminal)
	if err != nil {
		return "", missing
	}
	_, _ = fmt.Fprintf(p.stderr, "Password for %s: ", clean(user))
	typed := make(chan []byte, 1)
	go func() {
		defer close(typed)
		if text, err := term.ReadPassword(terminal); err == nil {
			typed <- text
		}
	}()
	defer func() { _, _ = fmt.Fprintln(p.stderr) }()
	select {
	case text, ok := <-typed:
		if ok {
			return string(text), nil
		}
	case <-ctx.Done(): // the terminal would stay without echo
		_ = term.Restore(terminal, state)
	}
	return "", missing
}
