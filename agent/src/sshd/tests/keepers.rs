use super::*;

#[tokio::test]
async fn what_keepers_are_to_know_of_the_settings_reaches_them() {
    let stage = Stage::with(|settings| {
        settings.keeper.dir = "/run/keepers/%u".into();
        settings.embedded.shell = "/bin/sh".into();
    })
    .await;
    let out = stage.run(&[], "echo $MOORLINE_KEEP_DIR $MOORLINE_SHELL").await;
    assert_eq!(text(&out.stdout), format!("/run/keepers/{} /bin/sh\n", stage.login));
    let plain = Stage::new().await;
    let out = plain.run(&[], "echo -$MOORLINE_KEEP_DIR-$MOORLINE_SHELL-").await;
    assert_eq!(text(&out.stdout), "---\n");
}
