package kube

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

func aSecret(kind corev1.SecretType, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{TypeMeta: kindOf("Secret"), ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "regcred"}, Type: kind, Data: make(map[string][]byte)}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// TestPullSecret: one secret is asked for by its name, and of it one entry is kept.
func TestPullSecret(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	both := map[string]string{".dockerconfigjson": `{"auths":{}}`, ".dockercfg": `{}`, "password": "PLANTED"}
	for _, inProtobuf := range []bool{false, true} { // as the fake answers, and as real API servers do
		for kind, want := range map[corev1.SecretType]string{"kubernetes.io/dockerconfigjson": `{"auths":{}}`, "kubernetes.io/dockercfg": `{}`, "Opaque": "", "": ""} {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !inProtobuf {
					reply(w, 200, aSecret(kind, both))
					return
				}
				w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
				if err := protobuf.NewSerializer(scheme, scheme).Encode(aSecret(kind, both), w); err != nil {
					t.Error(err)
				}
			})
			got, err := s.client(t).PullSecret(t.Context(), "shop", "regcred")
			if diff := cmp.Diff(PullSecret{string(kind), []byte(want)}, got, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })); diff != "" || err != nil {
				t.Errorf("protobuf %v, %q: %v (-want +got):\n%s", inProtobuf, kind, err, diff)
			}
			for _, r := range s.requests() {
				if got := r.Method + " " + r.URL.String(); got != "GET /api/v1/namespaces/shop/secrets/regcred?resourceVersion=0" {
					t.Errorf("asked %s", got)
				}
			}
		}
	}
}

// TestPullSecretErrors: what is wrong is told without a word of the answer.
func TestPullSecretErrors(t *testing.T) {
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	for name, tc := range map[string]struct {
		answer              http.HandlerFunc
		say                 string
		notFound, forbidden bool
	}{
		"no such secret": {refuse(404, metav1.StatusReasonNotFound, `secrets "regcred" not found`), "not found", true, false},
		"no right":       {refuse(403, metav1.StatusReasonForbidden, `secrets "regcred" is forbidden`), "is forbidden", false, true},
		"no login":       {refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "Unauthorized", false, false},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, aSecret("kubernetes.io/dockercfg", map[string]string{"PLANTED": strings.Repeat("x", maxSecret)}))
		}, "larger than a pull secret", false, false},
		"another kind": {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, aNode("PLANTED")) }, "no secret", false, false},
		"rubbish":      {text(`{"kind": "Secret", "apiVersion": "v1", "data": {"PLANTED": 1`), "no secret", false, false},
		"no base64":    {text(`{"kind": "Secret", "apiVersion": "v1", "data": {"PLANTED": "%%%"}}`), "no secret", false, false},
		"a page":       {text("<html>PLANTED"), "no secret", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.answer)
			got, err := s.client(t).PullSecret(t.Context(), "shop", "regcred")
			var e *Error
			if !errors.As(err, &e) || got.Content != nil {
				t.Fatalf("%+v, %v", got, err)
			}
			checkError(t, e, s.URL)
			if !strings.HasPrefix(err.Error(), "get secret shop/regcred at ") || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "PLANTED") {
				t.Errorf("says %q", err)
			}
			if e.NotFound() != tc.notFound || e.Forbidden() != tc.forbidden {
				t.Errorf("not found %v, forbidden %v", e.NotFound(), e.Forbidden())
			}
		})
	}
	// A pod's spec may name anything.
	s := serve(t, refuse(404, metav1.StatusReasonNotFound, "not found"))
	for _, name := range []string{"../../pods/x", "..", "a/b", "a%2fb", ""} {
		if _, err := s.client(t).PullSecret(t.Context(), "shop", name); err == nil || len(s.requests()) > 0 {
			t.Errorf("%q: %v, asked %d times", name, err, len(s.requests()))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.client(t).PullSecret(ctx, "shop", "regcred"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
