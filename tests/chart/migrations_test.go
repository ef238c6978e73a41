package chart

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// migration is the job of a release, and the hooks beside it.
type migration struct {
	job      *batch.Job
	account  *core.ServiceAccount
	policies []*networking.NetworkPolicy
}

// readMigration returns what of a release is a job, and what is a hook of installations and upgrades.
func readMigration(t *testing.T, given values) migration {
	t.Helper()
	manifests, _, err := render(t, given)
	if err != nil {
		t.Fatal(err)
	}
	var found migration
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		if job, isJob := object.(*batch.Job); isJob {
			if found.job != nil {
				t.Errorf("%s and %s are jobs", found.job.Name, job.Name)
			}
			found.job = job
		}
		if !strings.HasPrefix(object.(meta.Object).GetAnnotations()["helm.sh/hook"], "pre-") {
			continue
		}
		switch object := object.(type) {
		case *core.ServiceAccount:
			found.account = object
		case *networking.NetworkPolicy:
			found.policies = append(found.policies, object)
		}
	}
	return found
}

func TestNoJobMigratesUnlessItIsAskedFor(t *testing.T) {
	if found := readMigration(t, readValues(t, "minimal")); found.job != nil || found.account != nil || found.policies != nil {
		t.Errorf("%+v", found)
	}
}

// Before an installation nothing of the release is there, and before an upgrade its policies are those of before: all that the
// job needs but secrets comes as a hook before it.
func TestAHookFindsAllItNeedsBeforeTheReleaseIsThere(t *testing.T) {
	found := readMigration(t, merge(readValues(t, "migrations-hook"), parseValues(t, "{ database: { caSecret: database-authority } }")))
	if found.job == nil || found.account == nil || len(found.policies) != 1 {
		t.Fatalf("%+v", found)
	}
	weight := func(object meta.Object) int {
		annotations := object.GetAnnotations()
		if annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
			t.Errorf("%s is a hook of %s", object.GetName(), annotations["helm.sh/hook"])
		}
		// Otherwise the next upgrade would find them in its way, and a failure leave no log.
		if annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
			t.Errorf("%s is deleted at %s", object.GetName(), annotations["helm.sh/hook-delete-policy"])
		}
		number, err := strconv.Atoi(annotations["helm.sh/hook-weight"])
		if err != nil {
			t.Error(err)
		}
		return number
	}
	last, policy := weight(found.job), found.policies[0]
	if weight(found.account) >= last || weight(policy) >= last {
		t.Error("the job is not the last")
	}
	pod := found.job.Spec.Template.Spec
	if pod.ServiceAccountName != found.account.Name || *found.account.AutomountServiceAccountToken {
		t.Errorf("the account is %s", pod.ServiceAccountName)
	}
	for _, volume := range pod.Volumes {
		if volume.Secret == nil {
			t.Errorf("the volume %s is no secret", volume.Name)
		}
	}
	var ports []int
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			ports = append(ports, port.Port.IntValue())
		}
	}
	if !selects(t, &policy.Spec.PodSelector, "migrate") || !slices.Equal(ports, []int{53, 53, 5432}) {
		t.Errorf("the job reaches %v by %v", ports, policy.Spec.PodSelector)
	}
}

// Without hooks a job stays as long as nothing of it changes, and another one is no change of it, which Kubernetes would refuse.
func TestAnotherJobHasAnotherName(t *testing.T) {
	given := readValues(t, "migrations-job")
	first := readMigration(t, given).job
	if first.Annotations["helm.sh/hook"] != "" {
		t.Errorf("%s is a hook", first.Name)
	}
	same := parseValues(t, "{ identity: { replicas: 3, imageTag: 0.0.9 }, keyRegistry: { drainSeconds: 40 } }")
	if other := readMigration(t, merge(given, same)).job; other.Name != first.Name {
		t.Errorf("%s is the same as %s", other.Name, first.Name)
	}
	seen := map[string]string{first.Name: "nothing"}
	for _, change := range []string{
		"{ image: { tag: 9.9.9 } }",
		"{ image: { repository: registry.example.com/bowline } }",
		"{ database: { caSecret: '' } }",
		"{ imagePullSecrets: [{ name: registry }] }",
		"{ spreading: { zones: DoNotSchedule } }",
		"{ migrations: { deadlineSeconds: 601 } }",
		"{ migrations: { database: { existingSecret: '' } } }",
		"{ migrations: { database: { keys: { identity: other } } } }",
		"{ migrations: { resources: { limits: { memory: 1Gi } } } }",
		"{ migrations: { podAnnotations: { a: b } } }",
	} {
		name := readMigration(t, merge(given, parseValues(t, change))).job.Name
		if before, isThere := seen[name]; isThere {
			t.Errorf("%s after %s is as after %s", name, change, before)
		}
		seen[name] = change
	}
}

func TestMigrationsUseTheirOwnAccountWhereOneIsNamed(t *testing.T) {
	secret := func(given string) string {
		found := readMigration(t, merge(readValues(t, "minimal"), parseValues(t, given)))
		return found.job.Spec.Template.Spec.Volumes[0].Secret.SecretName
	}
	if found := secret("{ migrations: { mode: hook } }"); found != "bowline-database" {
		t.Errorf("the services' secret is %s", found)
	}
	if found := secret("{ migrations: { mode: hook, database: { existingSecret: owner } } }"); found != "owner" {
		t.Errorf("the secret is %s", found)
	}
}

// The program takes what the job is told, and each file that is named is mounted there.
func TestJobsAskTheDatabases(t *testing.T) {
	for what, further := range map[string]string{
		"a database for each": "{ migrations: { mode: hook } }",
		"one database":        "{ migrations: { mode: hook }, database: { keys: { keyRegistry: identity-url, policyCompiler: identity-url } } }",
	} {
		t.Run(what, func(t *testing.T) {
			pod := newCluster(t, parseValues(t, further)).prepare(t, "migrate")
			select {
			case <-pod.start(t):
			case <-time.After(patience):
				t.Fatal("it has not asked the database")
			}
			if said := pod.log.String(); !strings.Contains(said, "Connection refused") {
				t.Errorf("the database is not what it lacks:\n%s", said)
			}
		})
	}
}
