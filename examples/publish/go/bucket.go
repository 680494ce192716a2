package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// bucket is where large files go and modules come from.
type bucket struct {
	client *minio.Client
	name   string
}

func openBucket() (*bucket, error) {
	endpoint, err := url.Parse(variable("TINYMLAAS_S3_ENDPOINT", "https://s3.amazonaws.com"))
	if err != nil {
		return nil, err
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:  credentials.NewEnvAWS(),
		Secure: endpoint.Scheme == "https",
		Region: variable("AWS_DEFAULT_REGION", "us-east-1"),
	})
	return &bucket{client, os.Getenv("TINYMLAAS_S3_BUCKET")}, err
}

func (b *bucket) put(key string, data []byte) error {
	_, err := b.client.PutObject(
		context.Background(), b.name, key, bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{})
	return err
}

func (b *bucket) get(key string) ([]byte, error) {
	object, err := b.client.GetObject(context.Background(), b.name, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer object.Close()
	return io.ReadAll(object)
}

// envelope is DSSE, the statement in it in-toto with SLSA provenance.
type envelope struct {
	Payload     []byte `json:"payload"` // encoding/json reads base64 into bytes
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig []byte `json:"sig"`
	} `json:"signatures"`
}

type statement struct {
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	Predicate struct {
		RunDetails struct {
			Builder struct {
				ID string `json:"id"`
			} `json:"builder"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// verified returns the module at key, if one of the keys in the files trusted has signed it.
func (b *bucket) verified(key string, trusted []string) ([]byte, error) {
	module, err := b.get(key)
	if err != nil {
		return nil, err
	}
	for _, file := range trusted {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%s is no PEM file", file)
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		at := path.Join(path.Dir(key), "provenance", digestOf(block.Bytes)+".intoto.jsonl")
		signed, err := b.get(at)
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			continue // this key has not signed it
		}
		if err != nil {
			return nil, err
		}
		pool := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(file), ".pub"), "builder-")
		builder := "urn:tinymlaas:builder:" + pool + ":v1"
		if said(signed, public.(*ecdsa.PublicKey), builder, digestOf(module)) {
			return module, nil
		}
	}
	return nil, errors.New("the module is not what a trusted key has signed")
}

// said tells whether the key has signed that builder made the archive of that digest.
func said(signed []byte, public *ecdsa.PublicKey, builder, digest string) bool {
	var sealed envelope
	if json.Unmarshal(signed, &sealed) != nil || len(sealed.Signatures) != 1 {
		return false
	}
	head := fmt.Sprintf("DSSEv1 %d %s %d ", len(sealed.PayloadType), sealed.PayloadType, len(sealed.Payload))
	sum := sha256.Sum256(append([]byte(head), sealed.Payload...))
	if !ecdsa.VerifyASN1(public, sum[:], sealed.Signatures[0].Sig) {
		return false
	}
	var says statement
	if json.Unmarshal(sealed.Payload, &says) != nil || says.Predicate.RunDetails.Builder.ID != builder {
		return false
	}
	for _, subject := range says.Subject {
		if subject.Digest["sha256"] == digest {
			return true
		}
	}
	return false
}
