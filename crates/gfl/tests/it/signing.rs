//! Keys and signatures for releases of the tests.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use gfl_api::release::minisign::{PublicKey, Signature};

/// The key releases are signed with here.
pub(crate) fn key(seed: [u8; 32]) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let key = pair.public_key().as_ref().try_into().unwrap();
    (pair, PublicKey { id: [1; 8], key })
}

pub(crate) fn sign(content: &str, seed: [u8; 32]) -> String {
    let (pair, public) = key(seed);
    let mut signature = Signature {
        key_id: public.id,
        signature: pair.sign(content.as_bytes()).as_ref().try_into().unwrap(),
        comment: "file:version.json".into(),
        comment_signature: [0; 64],
    };
    let comment = pair.sign(&signature.comment_message());
    signature.comment_signature = comment.as_ref().try_into().unwrap();
    signature.to_text()
}
