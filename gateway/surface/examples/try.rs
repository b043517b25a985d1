//! Temporary.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&args[2]).expect("a")).expect("b");
    match args[1].as_str() {
        "postman" => {
            let hints: surface::Hints =
                serde_json::from_str(&std::fs::read_to_string(&args[3]).expect("a")).expect("b");
            println!("{}", serde_json::to_string_pretty(&surface::collection(&document, &hints)).expect("c"));
        }
        "yaml" => print!("{}", surface::to_yaml(&surface::fold(&document)).expect("c")),
        _ => {
            for tag in document["tags"].as_array().expect("t") {
                let part = surface::part(&document, |_, _, o| o["tags"][0] == tag["name"]).expect("p");
                let text = surface::to_yaml(&surface::fold(&part)).expect("c");
                std::fs::write(format!("{}/{}.yaml", args[3], tag["name"].as_str().expect("n")), text).expect("w");
            }
        }
    }
}
