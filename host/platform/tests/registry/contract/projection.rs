//! Rows projected from the event log.

use super::*;

pub(super) async fn the_projection_is_stored_with_its_position(registry: &dyn Registry) {
    let a = create(registry, device("a", None)).await.device.id;
    let b = create(registry, device("b", None)).await.device.id;
    let latest = |device, packed: &[u8]| PackedRow {
        tenant: TENANT,
        device,
        kind: RowKind::LatestValues,
        packed: packed.to_vec(),
    };
    let attributes = |device, packed: &[u8]| PackedRow { kind: RowKind::ClientAttributes, ..latest(device, packed) };
    let load = async |kind| registry.load_projection(TENANT, kind, &[b, DeviceId(99), a, b]).await.unwrap();
    assert_eq!(registry.applied_position().await.unwrap(), None);
    assert_eq!(load(RowKind::LatestValues).await, [None, None, None, None]);

    let flush =
        |rows, connectivity, position: &str| Flush { rows, connectivity, applied_position: position.to_owned() };
    let rows = vec![latest(a, b"1"), latest(b, &[]), attributes(a, b"2"), latest(DeviceId(99), b"x"), latest(a, b"3")];
    let states = vec![connected(a, 1), connected(DeviceId(99), 1)];
    registry.store_projection(flush(rows, states, "0-17")).await.unwrap();
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(load(RowKind::LatestValues).await, [some(&[]), None, some(b"3"), some(&[])], "the last one stays");
    assert_eq!(load(RowKind::ClientAttributes).await, [None, None, some(b"2"), None]);
    let states = registry.load_connectivity(TENANT, &[DeviceId(99), a, b]).await.unwrap();
    assert_eq!(states, [None, Some(connected(a, 1)), None]);
    assert_eq!(registry.applied_position().await.unwrap().as_deref(), Some("0-17"));

    let gone = Connectivity { connected: false, last_change: Timestamp(9), ..connected(a, 1) };
    registry.store_projection(flush(vec![latest(a, b"4")], vec![gone.clone()], "0-18")).await.unwrap();
    assert_eq!(load(RowKind::LatestValues).await, [some(&[]), None, some(b"4"), some(&[])]);
    assert_eq!(load(RowKind::ClientAttributes).await, [None, None, some(b"2"), None]);
    assert_eq!(registry.load_connectivity(TENANT, &[a]).await.unwrap(), [Some(gone)]);
    registry.store_projection(flush(vec![], vec![], "0-19")).await.unwrap();
    assert_eq!(registry.applied_position().await.unwrap().as_deref(), Some("0-19"));
}

pub(super) async fn connections_of_other_runs_are_found(registry: &dyn Registry) {
    let mut ids = Vec::new();
    for index in 0..7 {
        ids.push(create(registry, device(&format!("d{index}"), None)).await.device.id);
    }
    let mut connectivity: Vec<_> =
        ids.iter().zip([1, 2, 3, 1, 2, 3, 1]).map(|(id, boot)| connected(*id, boot)).collect();
    connectivity[3].connected = false;
    registry.store_projection(Flush { connectivity, ..Flush::default() }).await.unwrap();
    let expected = [(0, 1), (1, 2), (4, 2), (6, 1)].map(|(index, boot)| connected(ids[index], boot));
    for limit in 1..6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = registry.connected_in_other_runs(3, after, limit).await.unwrap();
            after = page.last().map(|last| (last.tenant, last.device));
            seen.extend_from_slice(&page);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
    // The log was replaced, and counts from 1 again.
    let expected = [(1, 2), (2, 3), (4, 2), (5, 3)].map(|(index, boot)| connected(ids[index], boot));
    assert_eq!(registry.connected_in_other_runs(1, None, 10).await.unwrap(), expected);
    assert_eq!(registry.connected_in_other_runs(3, None, 0).await.unwrap_err().blame(), Blame::Caller);
}
