//! What `object_stores` may say, and how a mistake in it is told.

use expect_test::{Expect, expect};

use crate::config::{Config, parse};

fn read(buckets: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), "hunter3\n").expect("written");
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let text = format!("project: taxi\nobject_stores:\n{buckets}");
    parse(folder.path(), &text, &environment)
        .map_err(|mistakes| mistakes.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
}

#[test]
fn buckets_are_reached_as_their_keys_say() {
    let config = read(
        "  lake: {endpoint: 'http://127.0.0.1:9000/', region: eu-central-1, access_key_id: me, \
         secret_access_key: '${SECRET}', allow_http: true, timeout: 5s}
  other.lake: {access_key_id: me, secret_access_key_file: secret}
  open: {}
",
    )
    .expect("no mistakes");
    expect![[r#"
        {
            "lake": Bucket {
                endpoint: Some(
                    "http://127.0.0.1:9000",
                ),
                region: "eu-central-1",
                login: Some(
                    BucketLogin {
                        access_key_id: "me",
                        secret_access_key: (secret),
                    },
                ),
                allow_http: true,
                timeout: 5s,
            },
            "open": Bucket {
                endpoint: None,
                region: "us-east-1",
                login: None,
                allow_http: false,
                timeout: 30s,
            },
            "other.lake": Bucket {
                endpoint: None,
                region: "us-east-1",
                login: Some(
                    BucketLogin {
                        access_key_id: "me",
                        secret_access_key: (secret),
                    },
                ),
                allow_http: false,
                timeout: 30s,
            },
        }"#]]
    .assert_eq(&format!("{:#?}", config.object_stores));
    let secret = |bucket: &str| {
        let login = config.object_stores[bucket].login.as_ref().expect("a login");
        login.secret_access_key.reveal().to_owned()
    };
    assert_eq!((secret("lake").as_str(), secret("other.lake").as_str()), ("hunter2", "hunter3"));
}

#[test]
fn mistakes_are_told_with_their_place_and_without_secrets() {
    let check = |buckets: &str, expected: Expect| expected.assert_eq(&read(buckets).expect_err("a mistake"));
    check(
        "  Lake!: {}
  a: {endpoint: 'minio:9000', region: '', timeout: 20m}
  b: {endpoint: 'http://me:hunter2@minio', access_key_id: me}
  c: {secret_access_key: hunter2}
  d: {access_key_id: me, secret_access_key: hunter2, secret_access_key_file: secret}
  e: {access_key_id: me, secret_access_key_file: nothing}
  f: {access_key_id: me, secret_access_key: ''}
  g: {endpoint: 'http://minio'}
",
        expect![[r#"
            lockstep.yaml:3:10: the name of a bucket is made of small letters, digits, dots and hyphens
            lockstep.yaml:4:17: an endpoint is https:// or http:// and a host, such as https://minio.example.com:9000; the login has keys of its own
            lockstep.yaml:4:39: a region must not be empty; leave it out where the store has none
            lockstep.yaml:4:52: a timeout may be 1ms to 10m
            lockstep.yaml:5:17: an endpoint is https:// or http:// and a host, such as https://minio.example.com:9000; the login has keys of its own
            lockstep.yaml:5:17: http:// sends data unencrypted; write https://, or allow_http: true if that is meant
            lockstep.yaml:5:59: an access_key_id needs a secret_access_key or a secret_access_key_file
            lockstep.yaml:6:6: a secret access key needs an access_key_id
            lockstep.yaml:7:78: there is a secret_access_key already; leave secret_access_key or secret_access_key_file out
            lockstep.yaml:8:50: FOLDER/nothing cannot be read: No such file or directory (os error 2)
            lockstep.yaml:9:45: a secret_access_key must not be empty; leave it out where the server wants none
            lockstep.yaml:10:17: http:// sends data unencrypted; write https://, or allow_http: true if that is meant"#]],
    );
    check(
        "  a: {access_key_id: me, secret_access_key: 123456, bucket: b}\n",
        expect![[r#"
            lockstep.yaml:3:45: secret_access_key of a of object_stores must be text, it is something else; put it in quotes
            lockstep.yaml:3:53: a of object_stores has the unknown key bucket; it may have access_key_id, allow_http, endpoint, region, secret_access_key, secret_access_key_file, timeout"#]],
    );
}
