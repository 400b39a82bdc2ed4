package kube

import (
	"context"
	"errors"
	"io"

	corev1 "k8s.io/api/core/v1"
)

// maxSecret bounds the answer with a secret, in bytes: as much as Kubernetes lets a secret hold (corev1.MaxSecretSize).
const maxSecret = corev1.MaxSecretSize

// PullSecret is what Pullwatch reads of a secret: the one entry that a kubelet takes logins from.
type PullSecret struct {
	Type    string // kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg, or whatever else somebody gave it
	Content []byte // of its entry for the type; empty for a type that is neither. No text may hold any of it
}

// PullSecret gets one secret by its name. That takes the right to get just this one: secrets are never listed or watched.
func (c *Client) PullSecret(ctx context.Context, namespace, name string) (PullSecret, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secret, err := c.secret(ctx, namespace, name)
	if err != nil {
		return PullSecret{}, c.explain("get secret "+namespace+"/"+name, err)
	}
	key := map[corev1.SecretType]string{corev1.SecretTypeDockerConfigJson: corev1.DockerConfigJsonKey, corev1.SecretTypeDockercfg: corev1.DockerConfigKey}[secret.Type]
	return PullSecret{bounded(string(secret.Type)), secret.Data[key]}, nil
}

// secret reads it as a stream, which alone can be bounded. What is wrong with an answer is told without a word of it.
func (c *Client) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	stream, err := c.rest.Get().Namespace(namespace).Resource("secrets").Name(name).Param("resourceVersion", "0").Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(io.LimitReader(stream, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSecret {
		return nil, errors.New("it is larger than a pull secret can be")
	}
	object, _, err := c.decoder.Decode(text, nil, nil)
	secret, ok := object.(*corev1.Secret)
	if err != nil || !ok {
		return nil, errors.New("the answer is no secret")
	}
	return secret, nil
}
