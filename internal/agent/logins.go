package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
	"github.com/pullwatch/pullwatch/internal/say"
	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
	"github.com/pullwatch/pullwatch/pkg/registries"
)

const (
	// secretsAtOnce bounds the pull secrets that are tried for one image in one round.
	secretsAtOnce = 4
	// forbiddenFor is how long a secret that may not be read is not asked for again: each refusal is a line in the cluster's audit log.
	forbiddenFor = time.Hour
)

// wantedSecrets are the pull secrets, as NAMESPACE/NAME, that pods name which cannot pull an image for want of credentials, by image. Where
// they are not to be read there are none.
func (a *Agent) wantedSecrets() map[string][]string {
	if !a.registries.PullSecrets || a.config.Kube == nil {
		return nil
	}
	secrets := make(map[string][]string)
	failures := a.snapshot.failures.Load().Value
	for i := range failures {
		f := &failures[i]
		if f.Cause.Scope() != cause.ScopeCredentials {
			continue
		}
		for _, name := range f.PullSecrets {
			secrets[f.Image] = append(secrets[f.Image], f.Namespace+"/"+name)
		}
	}
	for image, names := range secrets {
		slices.Sort(names)
		secrets[image] = slices.Compact(names)
	}
	return secrets
}

// hurryImages has an image asked for sooner whose pods name a secret of which nothing is known yet.
func (w *imageWatch) hurryImages(plan *imagePlan, secrets map[string][]string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for image, names := range secrets {
		if state := w.states[image]; state != nil && slices.ContainsFunc(names, func(name string) bool { return state.login(name) == nil }) {
			plan.sooner(image, now)
		}
	}
}

// login is what came of a secret; nil is nothing yet.
func (s *ImageState) login(secret string) *keyring.Outcome {
	if i := slices.IndexFunc(s.Logins, func(o keyring.Outcome) bool { return o.Secret == secret }); i >= 0 {
		return &s.Logins[i]
	}
	return nil
}

// tryLogins reads pull secrets and asks for an image with what logins they have for it, as the kubelet would have the runtime do it, by HEAD
// alone. Those come first of which the least is known; of the others stays what was. Nothing is kept of a secret.
func (a *Agent) tryLogins(ctx context.Context, prober probe.Prober, image string, answer *registries.Answer, secrets []string, before, state *ImageState) {
	ctx, cancel := context.WithTimeout(ctx, 3*probe.Timeout)
	defer cancel()
	if before == nil {
		before = &ImageState{}
	}
	when := func(secret string) (at time.Time) {
		if o := before.login(secret); o != nil {
			at = o.At
		}
		return at
	}
	secrets = slices.SortedFunc(slices.Values(secrets), func(x, y string) int { return cmp.Or(when(x).Compare(when(y)), cmp.Compare(x, y)) })
	for i, secret := range secrets {
		o := before.login(secret)
		if i < secretsAtOnce && ctx.Err() == nil {
			tried := a.tryLogin(ctx, prober, image, answer, secret, state)
			if o == nil || tried.Result != keyring.NotKnown { // that it could not be told now says nothing against what was
				o = &tried
			}
			a.log.Debug("pull secret tried", "image", image, "secret", secret, "result", string(tried.Result), "cause", tried.Cause.String())
		}
		if o != nil {
			state.Logins = append(state.Logins, *o)
		}
	}
	slices.SortFunc(state.Logins, func(x, y keyring.Outcome) int { return cmp.Compare(x.Secret, y.Secret) })
}

// tryLogin tries one secret. A registry that wants to be left alone is: the image's state says so, whoever was told it.
func (a *Agent) tryLogin(ctx context.Context, prober probe.Prober, image string, answer *registries.Answer, secret string, state *ImageState) keyring.Outcome {
	forbidden := a.images.forbidden
	now := time.Now()
	maps.DeleteFunc(forbidden, func(_ string, at time.Time) bool { return now.Sub(at) >= forbiddenFor })
	o := keyring.Outcome{Secret: secret, At: now, Result: keyring.NoRight}
	if at, ok := forbidden[secret]; ok {
		o.At = at
		return o
	}
	namespace, name, _ := strings.Cut(secret, "/")
	content, err := a.config.Kube.PullSecret(ctx, namespace, name)
	var e *kube.Error
	switch {
	case errors.As(err, &e) && e.Forbidden():
		forbidden[secret] = now
		return o
	case errors.As(err, &e) && e.NotFound():
		o.Result = keyring.NotFound
		return o
	case err != nil:
		o.Result, o.Error = keyring.NotKnown, say.Shorten(err.Error(), say.ErrorLength)
		return o
	}
	found := keyring.Find(content.Type, content.Content, image)
	o.Result, o.Hosts = found.Fault, found.Hosts
	if o.Result == keyring.NotKnown {
		o.Error = "its login is too large for any registry"
	}
	for _, login := range found.Logins {
		if state.RetryAfter > 0 {
			o.Result, o.Cause = keyring.NotKnown, cmp.Or(state.leave, state.Cause)
			break
		}
		login.Source = "secret " + secret
		prober.Login = &login
		asked := prober.Resolve(ctx, image, answer, probe.Anywhere)
		if asked.RetryAfter > state.RetryAfter {
			state.RetryAfter, state.leave = asked.RetryAfter, asked.Cause
		}
		if o.Asked(asked); o.Result == keyring.Accepted {
			break
		}
	}
	return o
}

// LoginsOf is what came of the pull secrets that the pod of a failure names: of its own, and of nobody else's.
func (s *Snapshot) LoginsOf(f *pulls.Failure) (logins []keyring.Outcome) {
	if f.Cause.Scope() != cause.ScopeCredentials {
		return nil
	}
	for i := range s.ImageProbes.Value {
		state := &s.ImageProbes.Value[i]
		if state.Image.Image != f.Image || !state.Failing {
			continue
		}
		for _, name := range f.PullSecrets {
			if o := state.login(f.Namespace + "/" + name); o != nil {
				logins = append(logins, *o)
			}
		}
	}
	return logins
}
