//! Pictures: named by their content, told by their bytes, there before a product points at them.

use axum::body::Body;
use catalog::usecases::pictures::MOST_PICTURE;
use common::{UserId, ids};
use http::{Method, Request};
use serde_json::json;

use super::world::{Answer, Shop, authorised, caller, staff};

const PATH: &str = "/v1/admin/products/pictures";

fn png(content: &[u8]) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n", content].concat()
}

async fn upload(shop: &Shop, bytes: Vec<u8>) -> Answer {
    let request = authorised(&staff(), Request::post(PATH)).header("content-type", "image/svg+xml");
    shop.send(request.body(Body::from(bytes)).unwrap()).await
}

#[tokio::test]
async fn a_picture_is_shown_for_ever_under_the_name_of_its_content() {
    let shop = Shop::open().await;
    let taken = upload(&shop, png(b"one")).await;
    assert_eq!((taken.status.as_u16(), &taken.body["media_type"]), (201, &json!("image/png")), "told by its bytes");
    assert_eq!(upload(&shop, png(b"one")).await.body, taken.body, "the same again is the same");
    let path = taken.body["path"].as_str().unwrap();
    let noted = shop.notes.acts();
    assert_eq!(noted.len(), 2, "each time somebody brought it");
    assert!(noted.iter().all(|act| act.name == "picture.store" && path.ends_with(&act.subject)), "{noted:?}");
    let request = |tag: &str| Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
    assert_eq!(shop.raw(request("")).await, png(b"one"));
    let tag = format!("\"{}\"", path.rsplit('/').next().unwrap());
    let known = shop.send(request(&tag)).await;
    assert_eq!((known.status.as_u16(), known.header("cache-control")), (304, "public, max-age=31536000, immutable"));
    assert_eq!((known.header("x-content-type-options"), known.header("content-type")), ("nosniff", "image/png"));
    let mut product = json!({
        "family": "general", "category": "a", "brand": "x", "texts": {"en": {"name": "N"}}, "prices": {"EUR": "1.00"},
        "images": [path]
    });
    let put = async |body: &serde_json::Value| {
        shop.send_json(&staff(), Method::PUT, &format!("/v1/admin/products/{}", shop.sku("A")), None, body).await
    };
    assert_eq!(put(&product).await.status, 201);
    product["images"] = json!([path, path.replace(".png", ".gif")]);
    let answer = put(&product).await;
    answer.is_problem(422, "invalid-field");
    assert_eq!(answer.body["errors"][0]["pointer"], "/images/1", "one that is not there cannot be shown");
    shop.close().await;
}

#[tokio::test]
async fn what_is_no_picture_or_no_name_of_one_is_refused() {
    let shop = Shop::open().await;
    for bytes in [b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>".to_vec(), b"MZ\x90".to_vec(), Vec::new()] {
        upload(&shop, bytes).await.is_problem(415, "unsupported-media-type");
    }
    upload(&shop, png(&vec![0; MOST_PICTURE])).await.is_problem(413, "body-too-large");
    assert_eq!(upload(&shop, png(&vec![0; MOST_PICTURE - 8])).await.status, 201);
    let digest = "ab".repeat(32);
    for name in ["..%2F..%2Fetc%2Fpasswd", "%2e%2e", &digest, &format!("{digest}.png"), &format!("..%2f{digest}.png")] {
        shop.get(&format!("/v1/products/pictures/{name}")).await.is_problem(404, "not-found");
    }
    let nobody = caller(UserId::from_uuid(ids::random()), &["shopper", "pricing"]);
    let request = authorised(&nobody, Request::post(PATH)).body(Body::from(png(b"one"))).unwrap();
    shop.send(request).await.is_problem(403, "forbidden");
    shop.close().await;
}
